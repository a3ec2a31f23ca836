// What a guarded text (guard.py) may read and write: a byte of marks for every byte of a region that holds the buffers
// of a call and its locals, and a table of the text's own variables. What is not allowed traps.
#include <stdint.h>
#include <string.h>

enum { REGION = 8 << 20, LOCALS = 1 << 16, PAD = 64 };  // the bytes of the region, where its locals begin at the least
enum { ROOM = 1, WRITTEN = 2, POINTER = 4 };            // marks, which lie behind the region; 0 is nobody's

typedef unsigned char byte;

struct variables {
    int64_t count;
    int64_t closed;  // whether everything outside of region and variables is forbidden
    struct {
        byte *at;
        uint64_t size;
        int64_t constant;
    } own[];
};

// Set before a call.
struct {
    byte *region;
    int64_t *blocks;  // that may still be run
    uint64_t fill;    // a byte of what is not yet written
    uint64_t first;   // where locals begin
    uint64_t strict;  // whether it is a trap to read what was never written, or an address as anything else
} oorl_memory;

static uint64_t top, highest;  // of the locals now, and since the call began

static byte *marks_of(byte *at, uint64_t size) {
    uint64_t from = (uint64_t)(at - oorl_memory.region);
    return from < REGION && size <= REGION - from ? oorl_memory.region + REGION + from : 0;
}

static void check_variables(byte *at, uint64_t size, const struct variables *variables, int writes) {
    for (int64_t k = 0; k < variables->count; k++) {
        uint64_t from = (uint64_t)(at - variables->own[k].at), whole = variables->own[k].size;
        if (from + PAD >= whole + 2 * PAD)  // beside its pads
            continue;
        if (from > whole || size > whole - from || (writes && variables->own[k].constant))
            __builtin_trap();
        return;
    }
    if (variables->closed)
        __builtin_trap();
}

static void check_room(const byte *marks, uint64_t size) {
    for (uint64_t k = 0; k < size; k++)
        if (!marks[k])
            __builtin_trap();
}

void oorl_take(void) {
    if (--*oorl_memory.blocks < 0)
        __builtin_trap();
}

// Some of the bytes may be unwritten, as padding is in a struct. ``address``: that is what is read.
void oorl_read(byte *at, uint64_t size, int address, const struct variables *variables) {
    const byte *marks = marks_of(at, size);
    if (!marks) {
        check_variables(at, size, variables, 0);
        return;
    }
    byte all = ROOM, any = 0;
    for (uint64_t k = 0; k < size; k++)
        all &= marks[k], any |= marks[k];
    int strange = !(any & WRITTEN) || (any & POINTER && !address);
    if (size && (!all || (oorl_memory.strict && strange)))
        __builtin_trap();
}

void oorl_write(byte *at, uint64_t size, int address, const struct variables *variables) {
    byte *marks = marks_of(at, size);
    if (!marks) {
        check_variables(at, size, variables, 1);
        return;
    }
    check_room(marks, size);
    memset(marks, ROOM | WRITTEN | (address ? POINTER : 0), size);
}

// A copy carries along what was not yet written, and addresses.
void oorl_copy(byte *to, byte *from, uint64_t size, const struct variables *variables) {
    if (!size)
        return;
    byte *source = marks_of(from, size), *target = marks_of(to, size);
    if (source)
        check_room(source, size);
    else
        check_variables(from, size, variables, 0);
    if (!target) {
        check_variables(to, size, variables, 1);
        return;
    }
    check_room(target, size);
    if (source)
        memmove(target, source, size);
    else
        memset(target, ROOM | WRITTEN, size);
}

void oorl_begin(void) {
    if (highest)  // a call that trapped has left its marks
        memset(oorl_memory.region + REGION + LOCALS, 0, highest - LOCALS);
    top = highest = oorl_memory.first;
}

uint64_t oorl_unwritten(void) { return oorl_memory.fill * 0x0101010101010101; }

uint64_t oorl_enter(void) { return top; }

void oorl_leave(uint64_t mark) {
    memset(oorl_memory.region + REGION + mark, 0, top - mark);
    top = mark;
}

byte *oorl_local(uint64_t size) {
    uint64_t at = (top + PAD + 63) / 64 * 64;
    if (size > REGION || at + size + PAD > REGION)
        __builtin_trap();
    byte *local = oorl_memory.region + at;
    memset(local, (int)oorl_memory.fill, size);
    memset(local + REGION, ROOM, size);
    top = at + size + PAD;
    highest = top > highest ? top : highest;
    return local;
}
