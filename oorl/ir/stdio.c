// What a program under test sees of its streams, its heap and its end, so that one process runs it many times.
//
// Streams stand in memory, the heap is an arena, and both exit() and the end of main come back to oorl_run. All else
// that programs may call (libc.py) is the C library's own. Compiled by programs.py, which maps names to these.
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEAP_BYTES = 1 << 20, STACK_BYTES = 1 << 15, DRAWN_BYTES = 1 << 12 };
enum { ENDED = 1, FAULT = 2 };

struct variable {
    char *at;
    size_t size;
    const char *initial;  // NULL: zeros
    long guard;           // it stands beside a variable, holds the fill, and must hold it at the end
};

struct frame {
    int64_t status;
    uint64_t undefined;  // whether the sanitizer's flag went up
    int64_t length;      // of the output; it may exceed the room; -1: something was written outside the variables
    char output[];
};

FILE *oorl_stdin, *oorl_stdout, *oorl_stderr;

// Writes what the program reads next, asked with the format of a scanf or, for a character, with none; 0 ends the file.
typedef long demand(const char *format, char *text, long room);

static demand *draw;  // NULL: the input is given
static char drawn[DRAWN_BYTES];
static const char *input;
static long input_at, input_length;
static struct frame *frame;
static long output_room;
static sigjmp_buf end;
static volatile sig_atomic_t inside;  // the program
static int status, filling;
static _Alignas(16) char heap[HEAP_BYTES];
static size_t heap_used;

static ssize_t read_input(void *cookie, char *text, size_t room) {
    if (draw && input_at == input_length) {
        input_at = 0;
        input_length = draw(NULL, drawn, DRAWN_BYTES);
    }
    size_t rest = (size_t)(input_length - input_at), taken = rest < room ? rest : room;
    memcpy(text, input + input_at, taken);
    input_at += (long)taken;
    return (ssize_t)taken;
}

static ssize_t write_output(void *cookie, const char *text, size_t length) {
    if (frame->length + (long)length <= output_room)
        memcpy(frame->output + frame->length, text, length);
    frame->length += (long)length;
    return (ssize_t)length;
}

static ssize_t write_nowhere(void *cookie, const char *text, size_t length) { return (ssize_t)length; }

static void supply(FILE *stream, const char *format) {
    if (!draw || stream != oorl_stdin)
        return;
    memmove(drawn, drawn + input_at, (size_t)(input_length - input_at));
    input_length -= input_at;
    input_at = 0;
    input_length += draw(format, drawn + input_length, DRAWN_BYTES - input_length);
}

int oorl_fscanf(FILE *stream, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    supply(stream, format);
    int count = vfscanf(stream, format, arguments);
    va_end(arguments);
    return count;
}

int oorl_scanf(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    supply(oorl_stdin, format);
    int count = vfscanf(oorl_stdin, format, arguments);
    va_end(arguments);
    return count;
}

int oorl_printf(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int count = vfprintf(oorl_stdout, format, arguments);
    va_end(arguments);
    return count;
}

int oorl_getchar(void) { return fgetc(oorl_stdin); }
int oorl_putchar(int letter) { return fputc(letter, oorl_stdout); }
int oorl_puts(const char *text) { return fputs(text, oorl_stdout) < 0 ? EOF : fputc('\n', oorl_stdout); }

char *oorl_gets(char *text) {
    int letter = EOF;
    size_t length = 0;
    while ((letter = fgetc(oorl_stdin)) != EOF && letter != '\n')
        text[length++] = (char)letter;
    if (letter == EOF && length == 0)
        return NULL;
    text[length] = 0;
    return text;
}

void *oorl_malloc(size_t size) {
    size_t room = (size + 31) / 16 * 16;  // its length stands before it
    if (size > HEAP_BYTES || heap_used + room > HEAP_BYTES)
        return NULL;
    char *block = heap + heap_used + 16;
    heap_used += room;
    memcpy(block - 16, &size, sizeof size);
    memset(block, filling, room - 16);
    return block;
}

void oorl_free(void *block) {
    size_t size;
    if (!block)
        return;
    memcpy(&size, (char *)block - 16, sizeof size);
    memset(block, ~filling, size);  // what is read after it was freed shows
}

void *oorl_calloc(size_t count, size_t size) {
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    void *block = oorl_malloc(total);
    return block ? memset(block, 0, total) : NULL;
}

void *oorl_realloc(void *block, size_t size) {
    void *fresh = oorl_malloc(size);
    if (!fresh || !block)
        return fresh;
    size_t old;
    memcpy(&old, (char *)block - 16, sizeof old);
    memcpy(fresh, block, old < size ? old : size);
    oorl_free(block);
    return fresh;
}

void oorl_exit(int code) {
    status = code;
    siglongjmp(end, ENDED);
}

// As the handler of a fault, ends the program; a fault of our own ends the process.
void oorl_caught(int number) {
    if (inside)
        siglongjmp(end, FAULT);
    signal(number, SIG_DFL);
}

static void lay_out(const struct variable *variables, long count) {
    for (const struct variable *v = variables; v < variables + count; v++) {
        if (v->initial)
            memcpy(v->at, v->initial, v->size);
        else
            memset(v->at, v->guard ? filling : 0, v->size);
    }
}

static int untouched(const struct variable *variables, long count) {
    for (const struct variable *v = variables; v < variables + count; v++)
        for (size_t k = 0; v->guard && k < v->size; k++)
            if (v->at[k] != (char)filling)
                return 0;
    return 1;
}

// The stack below the call: a read of what the program never wrote there differs between fills.
static __attribute__((noinline)) void dirty(void) {
    volatile char area[STACK_BYTES];
    memset((char *)area, filling, STACK_BYTES);
}

// Runs the program once; whether a fault ended it.
int oorl_run(int (*program)(int, char **), const struct variable *variables, long count, const char *text, long length,
             demand *drawing, struct frame *into, long room, int fill, volatile uint8_t *flag) {
    static char name[] = "program", empty[1];
    static char *words[] = {name, NULL};
    strtok(empty, " ");
    draw = drawing, input = drawing ? drawn : text, input_at = 0, input_length = drawing ? 0 : length;
    frame = into, output_room = room, filling = fill, heap_used = 0, status = 0;
    frame->length = 0;
    lay_out(variables, count);
    oorl_stdin = fopencookie(NULL, "r", (cookie_io_functions_t){.read = read_input});
    oorl_stdout = fopencookie(NULL, "w", (cookie_io_functions_t){.write = write_output});
    oorl_stderr = fopencookie(NULL, "w", (cookie_io_functions_t){.write = write_nowhere});
    if (drawing)
        setvbuf(oorl_stdin, NULL, _IONBF, 0);
    *flag = 0;
    int back = sigsetjmp(end, 1);
    if (back == 0) {
        inside = 1;
        dirty();
        status = program(1, words);
    }
    inside = 0;
    if (back == FAULT)
        return 1;  // its streams may be in any state and are left as they are
    fclose(oorl_stdout);
    fclose(oorl_stdin);
    fclose(oorl_stderr);
    if (!untouched(variables, count))
        frame->length = -1;
    frame->status = status & 255;
    frame->undefined = *flag;
    return 0;
}
