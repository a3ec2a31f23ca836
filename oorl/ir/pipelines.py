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
    unroll: bool = True
    vectorize: bool = True

    @property
    def steps(self) -> list[str]:
        """How the record names this pipeline."""
        if not self.level:
            return list(self.passes)
        knobs = (
            [self.size] * bool(self.size) + ["no-unroll"] * (not self.unroll) + ["no-vectorize"] * (not self.vectorize)
        )
        return [*knobs, f"O{self.level}", *self.passes]


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
    Pipeline((*_CFG, "jump_threading")),
    Pipeline((*_CFG, "tail_call_elimination")),
    Pipeline(("sroa", "tail_call_elimination", "simplify_cfg")),
    Pipeline((*_LOOP, "simplify_cfg")),
    Pipeline((*_LOOP, "instruction_combine", "loop_unroll", "simplify_cfg")),
    Pipeline((*_LOOP, "lcssa", "sinking")),
    Pipeline(("sroa", "aggressive_instcombine", "instruction_combine", "aggressive_dce")),
    Pipeline((*_CFG, "unify_function_exit_nodes", "lower_switch")),
    Pipeline((*_SSA, "break_critical_edges")),
    Pipeline((*_CFG, "register_to_memory")),
    Pipeline((*_SSA, "register_to_memory", "simplify_cfg")),
    Pipeline(("sroa", "lower_switch", "simplify_cfg", "instruction_combine")),
    Pipeline((*_LOOP, "loop_deletion", "reassociate", "new_gvn", "simplify_cfg", "instruction_combine")),
    Pipeline(level=1),
    Pipeline(level=1, size="minsize"),
    Pipeline(level=2),
    Pipeline(level=2, size="optsize"),
    Pipeline(level=2, size="minsize"),
    Pipeline(level=2, unroll=False, vectorize=False),
    Pipeline(level=3),
    Pipeline(level=3, vectorize=False),
    Pipeline(("register_to_memory",), level=1),
    Pipeline(("reassociate", "instruction_combine"), level=2, unroll=False, vectorize=False),
)
# What shows first that a function is too long, and what a mutant of an unoptimised text is run through.
COMPACT: tuple[Pipeline, ...] = (Pipeline(_CFG), Pipeline(level=2, size="minsize"))
TIDY = Pipeline(("simplify_cfg",))


def optimise(text: str, pipeline: Pipeline) -> str:
    """The canonical text of ``text`` after the pipeline; ValueError when the text is not valid IR."""
    module = parse(text)
    if pipeline.size:
        for function in module.functions:
            if not function.is_declaration:
                function.add_function_attribute(pipeline.size)
    tuning = binding.create_pipeline_tuning_options(pipeline.level)
    if pipeline.level:
        tuning.loop_unrolling = pipeline.unroll
        tuning.loop_vectorization = tuning.slp_vectorization = tuning.loop_interleaving = (
            pipeline.vectorize and pipeline.level > 1
        )
        builder = binding.create_pass_builder(analysis_machine(), tuning)
        builder.getModulePassManager().run(module, builder)
    if pipeline.passes:
        builder = binding.create_pass_builder(analysis_machine(), tuning)
        passes = binding.create_new_module_pass_manager()
        for name in pipeline.passes:
            getattr(passes, f"add_{name}_pass")()
        passes.run(module, builder)
    return canonical(module)
