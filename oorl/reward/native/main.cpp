// oorl-jail: runs one untrusted program with limits, confined as far as the machine allows, and reports how it ended.
//   oorl-jail --probe
//   oorl-jail [options] -- /absolute/program [arguments]
#include <cstring>

#include "monitor.h"
#include "options.h"
#include "probe.h"

int main(int argc, char** argv) {
    if (argc == 2 && std::strcmp(argv[1], "--probe") == 0) return jail::print_probe();
    return jail::run_watched(jail::parse_options(argc, argv));
}
