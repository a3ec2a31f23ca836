"""What a function keeps between its calls: variables that make its answer depend on more than its arguments."""

from __future__ import annotations

import re

from oorl.ir.llvm import analysis_machine, binding, parse

_VARIABLE = re.compile(r"^@(\S+) = (?!external |extern_weak )(?:[\w()]+ )*?global (.*)$", re.M)
_EMPTY = re.compile(r" (?:zeroinitializer|0|null|0\.0+e\+00)(?:,|$)")


def kept_between_calls(text: str) -> list[str]:
    """Variables that the text of a function changes, and those that hold nothing until another function fills them."""
    found = dict(_VARIABLE.findall(text))
    if not found:
        return []
    empty = {
        name for name, value in found.items() if re.search(r" (?:zeroinitializer|0|null|0\.0+e\+00)(?:,|$)", value)
    }
    # A reader of every byte: what nobody reads might be written all the same.
    readers = "".join(
        f"define i8 @oorl_read{k}(i64 %0) {{\n"
        f"  %2 = getelementptr i8, ptr @{name}, i64 %0\n  %3 = load i8, ptr %2\n  ret i8 %3\n}}\n"
        for k, name in enumerate(found)
    )
    module = parse(re.sub(r"^(@\S+ = )(?:dso_local )?global ", r"\1internal global ", text, flags=re.M) + readers)
    builder = binding.create_pass_builder(analysis_machine(), binding.create_pipeline_tuning_options(0))
    passes = binding.create_new_module_pass_manager()
    passes.add_global_opt_pass()  # makes constants of variables that nothing writes
    passes.run(module, builder)
    return sorted(empty | set(dict(_VARIABLE.findall(str(module)))))
