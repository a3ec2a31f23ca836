"""What other trainers call, computed by these kernels: one module a trainer, imported only when asked for.

`integrations.trl` needs trl, and only where it is used; `integrations.verl` has verl's call shape and does not need it.
"""
