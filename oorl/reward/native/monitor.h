// Runs one program under watch and reports how it ended.
#pragma once

#include "options.h"

namespace jail {

// Starts init and program, watches the tree, writes one JSON line to options.status_fd (stderr when absent).
// Returns the exit status of oorl-jail itself: 0 when there is a report, 1 when the program could not be started.
int run_watched(const Options& options);

}  // namespace jail
