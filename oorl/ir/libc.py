"""The harmless part of the C library: what a whole program may call, and the headers that declare it."""

from __future__ import annotations

from collections.abc import Collection

HEADERS = {
    "stdio.h": "printf scanf puts putchar getchar gets fgets fputs fputc putc getc fgetc ungetc fscanf fprintf sprintf"
    " snprintf sscanf fflush feof setbuf setvbuf getchar_unlocked putchar_unlocked stdin stdout stderr EOF FILE",
    "stdlib.h": "abs labs llabs atoi atol atoll atof strtol strtoll strtoul strtoull strtod malloc calloc realloc free"
    " qsort bsearch exit EXIT_SUCCESS EXIT_FAILURE",
    "string.h": "strlen strcpy strncpy strcmp strncmp strcat strncat strchr strrchr strstr strtok strspn strcspn"
    " strpbrk memset memcpy memmove memcmp memchr",
    "ctype.h": "isalpha isdigit isalnum isspace isupper islower ispunct isxdigit isprint iscntrl isgraph tolower"
    " toupper",
    "math.h": "sqrt pow fabs floor ceil round trunc sin cos tan asin acos atan atan2 sinh cosh tanh exp log log10 log2"
    " fmod hypot cbrt lround llround fmin fmax sqrtf powf fabsf floorf ceilf roundf M_PI M_E",
    "limits.h": "INT_MAX INT_MIN UINT_MAX LONG_MAX LONG_MIN ULONG_MAX LLONG_MAX LLONG_MIN ULLONG_MAX CHAR_BIT"
    " CHAR_MAX CHAR_MIN SCHAR_MAX UCHAR_MAX SHRT_MAX SHRT_MIN",
    "float.h": "DBL_MAX DBL_MIN DBL_EPSILON FLT_MAX FLT_EPSILON",
    "stdbool.h": "bool true false",
    "stddef.h": "size_t NULL ptrdiff_t",
    "stdint.h": "int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t intptr_t uintptr_t INT32_MAX"
    " INT64_MAX INT32_MIN INT64_MIN UINT32_MAX UINT64_MAX",
}
# As headers, inlining and LLVM's knowledge of the library spell the same.
_OTHER_SPELLINGS = (
    "__isoc99_scanf __isoc99_fscanf __isoc99_sscanf __isoc23_scanf __isoc23_fscanf __isoc23_sscanf __isoc23_strtol"
    " __isoc23_strtoll __isoc23_strtoul __isoc23_strtoull _IO_getc _IO_putc __ctype_b_loc __ctype_tolower_loc"
    " __ctype_toupper_loc bcmp fwrite exp2 exp10 ldexp strnlen stpcpy memrchr fputc_unlocked getc_unlocked"
)
LIBRARY = frozenset(word for names in (*HEADERS.values(), _OTHER_SPELLINGS) for word in names.split())
# Calls that clang turns into LLVM's own intrinsics: what a function may call and still be pure.
INTRINSIC = frozenset("abs labs llabs fabs memset memcpy memmove".split())


def headers_for(words: Collection[str]) -> list[str]:
    """The headers, in order, that declare some of these names."""
    return [header for header, names in HEADERS.items() if not set(names.split()).isdisjoint(words)]
