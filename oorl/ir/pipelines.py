"""The ways a function is optimised: LLVM's own levels with their knobs, and short lists of passes, over both bases.

The six -O levels alone give about three distinct texts a function; these give tens. loop-strength-reduce is absent:
after loop-rotate it trips an assertion of LLVM 22 and ends the process.
"""

from __future__ import annotations

from dataclasses import dataclass

from oorl.ir.clean import canonical
from oorl.ir.llvm import analysis_machine, binding, parse


@dataclass(frozen=True)
class Pipeline:
    """Passes by name, or a ``level`` with its knobs; ``size`` is the attribute that stands for -Os and -Oz."""

    passes: tuple[str, ...] = ()
    level: int = 0
    size: str = ""
    bases: tuple[str, ...] = ("b0", "b1")  # those from which it makes texts that the others do not

    @property
    def steps(self) -> list[str]:
        """How the record names this pipeline."""
        if not self.level:
            return list(self.passes)
        return [*[self.size] * bool(self.size), f"O{self.level}", *self.passes]


_SSA = ("sroa", "instruction_combine")
_CFG = (*_SSA, "simplify_cfg")
_LOOP = (*_SSA, "loop_simplify", "loop_rotate")

PIPELINES: tuple[Pipeline, ...] = (
    Pipeline(),
    Pipeline(("sroa",)),
    Pipeline(("simplify_cfg",)),
    Pipeline(("instruction_combine",)),
    Pipeline(("sroa", "simplify_cfg")),
    Pipeline(_SSA),
    Pipeline(_CFG),
    Pipeline(("sroa", "sccp", "dead_code_elimination")),
    Pipeline(("sroa", "new_gvn", "simplify_cfg")),
    Pipeline((*_CFG, "new_gvn", "sinking")),
    Pipeline(("sroa", "reassociate", "instruction_combine")),
    Pipeline((*_CFG, "jump_threading"), bases=("b1",)),
    Pipeline((*_CFG, "tail_call_elimination"), bases=("b0",)),
    Pipeline((*_LOOP, "simplify_cfg")),
    Pipeline((*_LOOP, "instruction_combine", "loop_unroll", "simplify_cfg")),
    Pipeline((*_LOOP, "lcssa", "sinking")),
    Pipeline((*_CFG, "unify_function_exit_nodes", "lower_switch"), bases=("b1",)),
    Pipeline((*_SSA, "break_critical_edges")),
    Pipeline((*_CFG, "register_to_memory")),
    Pipeline((*_SSA, "register_to_memory", "simplify_cfg")),
    Pipeline(("sroa", "lower_switch", "simplify_cfg", "instruction_combine"), bases=("b1",)),
    Pipeline((*_LOOP, "loop_deletion", "reassociate", "new_gvn", "simplify_cfg", "instruction_combine")),
    Pipeline(level=1),
    Pipeline(level=1, size="minsize"),
    Pipeline(level=2),
    Pipeline(level=2, size="optsize", bases=("b0",)),
    Pipeline(level=2, size="minsize"),
    Pipeline(level=3, bases=("b0",)),
    Pipeline(("register_to_memory",), level=1),
)
# What shows first that a function is too long, and what mutants are run through when their parent's own pipeline
# would make another text of it.
COMPACT: tuple[Pipeline, ...] = (Pipeline(_CFG), Pipeline(level=2, size="minsize"))
TIDY = Pipeline(("simplify_cfg",))
FOLD = Pipeline(("instruction_combine",))


def optimise(text: str, pipeline: Pipeline) -> str:
    """The canonical text of ``text`` after the pipeline; ValueError when the text is not valid IR."""
    module = parse(text)
    if pipeline.size:
        for function in module.functions:
            if not function.is_declaration:
                function.add_function_attribute(pipeline.size)
    tuning = binding.create_pipeline_tuning_options(pipeline.level)
    if pipeline.level:
        tuning.loop_unrolling = True
        tuning.loop_vectorization = tuning.slp_vectorization = tuning.loop_interleaving = pipeline.level > 1
        builder = binding.create_pass_builder(analysis_machine(), tuning)
        builder.getModulePassManager().run(module, builder)
    if pipeline.passes:
        builder = binding.create_pass_builder(analysis_machine(), tuning)
        passes = binding.create_new_module_pass_manager()
        for name in pipeline.passes:
            getattr(passes, f"add_{name}_pass")()
        passes.run(module, builder)
    return canonical(module)
