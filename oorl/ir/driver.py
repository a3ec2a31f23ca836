"""The loop over inputs in machine code: lay out the arena, call the function, store the frame, return from faults."""

from __future__ import annotations

from oorl.ir.layout import HEADER
from oorl.ir.memory import REGION_BYTES
from oorl.ir.signature import SCALARS, CSignature

DRIVER_ARGUMENTS = 14


def driver_text(signature: CSignature) -> str:
    """IR of the loop over inputs: lay out the arena and its marks, dirty the stack, call, store the frame.

    It returns 1 when ``oorl_caught``, as the handler of a fault, ended a call. The stack below the call is filled as
    the arena is: a read of something never written differs between fills.
    """
    lines, arguments = [], []
    for k, p in enumerate(signature.params):
        lines.append(f"  %p{k} = getelementptr i64, ptr %slot, i64 {k}")
        kind = "ptr" if p.kind == "buffer" else p.scalar.llvm
        if kind == "i1":  # a bool is stored as a byte
            lines += [f"  %b{k} = load i8, ptr %p{k}", f"  %a{k} = trunc i8 %b{k} to i1"]
        else:
            lines.append(f"  %a{k} = load {kind}, ptr %p{k}")
        extension = "" if p.kind == "buffer" else p.scalar.extension
        arguments.append(f"{kind} {extension} %a{k}")
    ret = SCALARS[signature.ret] if signature.ret else None
    # A char's extension differs between targets: its eight bits alone are read.
    call = f"call {'' if ret.letter else ret.extension} {ret.llvm}" if ret else "call void"
    lines.append(f"  {'%r = ' if ret else ''}{call} %function({', '.join(arguments)})")
    lines += _store_result(ret)
    return (
        _DRIVER.replace("CALL", "\n".join(lines))
        .replace("SLOT_BYTES", str(8 * len(signature.params)))
        .replace("HEADER", str(HEADER))
        .replace("REGION_BYTES", str(REGION_BYTES))
    )


def _store_result(ret) -> list[str]:
    if ret is None:
        return ["  store i64 0, ptr %frame"]
    if not ret.is_float:
        if ret.bits == 64:
            return ["  store i64 %r, ptr %frame"]
        return [f"  %w = {'sext' if ret.signed else 'zext'} {ret.llvm} %r to i64", "  store i64 %w, ptr %frame"]
    nan = "0x7FF8000000000000"
    return [
        "  store i64 0, ptr %frame",
        f"  %nan = fcmp uno {ret.llvm} %r, %r",
        f"  %one = select i1 %nan, {ret.llvm} {nan}, {ret.llvm} %r",
        f"  store {ret.llvm} %one, ptr %frame",
    ]


_DRIVER = """
define internal void @dirty(i8 %fill) noinline {
  %area = alloca [4096 x i8]
  call void @llvm.memset.p0.i64(ptr %area, i8 %fill, i64 4096, i1 true)
  ret void
}
@oorl_place = internal global [1024 x i8] zeroinitializer, align 16
@oorl_inside = internal global i8 0
define void @oorl_caught(i32 %number) {
  %inside = load volatile i8, ptr @oorl_inside
  %ours = icmp ne i8 %inside, 0
  br i1 %ours, label %back, label %die
back:
  call void @siglongjmp(ptr @oorl_place, i32 1)
  unreachable
die:
  %old = call ptr @signal(i32 %number, ptr null)
  ret void
}
define i32 @oorl_drive(ptr %function, i64 %first, i64 %count, ptr %slots, ptr %images, ptr %marks, ptr %arena,
                        i64 %size, ptr %frames, ptr %flag, i64 %fill, ptr %progress, ptr %tank, i64 %blocks) {
entry:
  %back = call i32 @__sigsetjmp(ptr @oorl_place, i32 1) returns_twice
  %fault = icmp ne i32 %back, 0
  br i1 %fault, label %caught, label %begin
caught:
  store volatile i8 0, ptr @oorl_inside
  ret i32 1
begin:
  store volatile i8 1, ptr @oorl_inside
  %frame_size = add i64 %size, HEADER
  %fill8 = trunc i64 %fill to i8
  br label %head
head:
  %i = phi i64 [ %first, %begin ], [ %next, %body ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %body, label %end
body:
  store volatile i64 %i, ptr %progress
  %image_at = mul i64 %i, %size
  %image = getelementptr i8, ptr %images, i64 %image_at
  call void @llvm.memcpy.p0.p0.i64(ptr %arena, ptr %image, i64 %size, i1 false)
  %marks_from = getelementptr i8, ptr %marks, i64 %image_at
  %marks_to = getelementptr i8, ptr %arena, i64 REGION_BYTES
  call void @llvm.memcpy.p0.p0.i64(ptr %marks_to, ptr %marks_from, i64 %size, i1 false)
  %frame_at = mul i64 %i, %frame_size
  %frame = getelementptr i8, ptr %frames, i64 %frame_at
  %slot_at = mul i64 %i, SLOT_BYTES
  %slot = getelementptr i8, ptr %slots, i64 %slot_at
  store volatile i8 0, ptr %flag
  store volatile i64 %blocks, ptr %tank
  call void @dirty(i8 %fill8)
CALL
  %raised = load volatile i8, ptr %flag
  %flag_at = getelementptr i8, ptr %frame, i64 8
  store i8 %raised, ptr %flag_at
  %after = getelementptr i8, ptr %frame, i64 HEADER
  call void @llvm.memcpy.p0.p0.i64(ptr %after, ptr %arena, i64 %size, i1 false)
  %next = add i64 %i, 1
  br label %head
end:
  store volatile i8 0, ptr @oorl_inside
  ret i32 0
}
declare i32 @__sigsetjmp(ptr, i32) returns_twice
declare void @siglongjmp(ptr, i32) noreturn
declare ptr @signal(i32, ptr)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
"""
