// What this machine lets oorl-jail do.
#pragma once

namespace jail {

// Tries each facility in a throw-away child and prints one JSON object; returns 0.
int print_probe();

}  // namespace jail
