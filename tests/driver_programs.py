"""Programs for test_drivers.py: the same behaviour in every language, as completions would be written.

``f`` is always the function that is called, from int to int where nothing else is said.
"""

# Prints, and asks for input it must not get, on its way to a * b.
NOISY = {
    "python": """
import sys
print('noise')
def f(a, b):
    print(sys.stdin.read(), flush=True)
    return a * b
""",
    "cpp": """
long long f(long long a, long long b) {
  std::string s;
  std::cin >> s;
  std::cout << s << 1 << std::endl;
  return a * b;
}
""",
    "java": """
static long f(long a, long b) throws Exception {
  System.out.println(System.in.read());
  return a * b;
}
""",
    "php": "<?php echo 'noise'; function f($a, $b) { echo fgets(STDIN); fwrite(STDOUT, 'x'); return $a * $b; }",
    "bash": "echo noise; read -r line; f() { read -r line; echo more >&2; echo $(($1 * $2)); }",
    "javascript": """
console.log('noise');
const f = (a, b) => { process.stdout.write(require('fs').readFileSync(0, 'utf8') + 'x'); return a * b; };
""",
    "c": 'long long f(long long a, long long b) { printf("noise %d\\n", getchar()); fflush(stdout); return a * b; }',
}

# Raises, and what the reply's detail must say.
RAISING = {
    "python": ("def f(x):\n    return [][x]\n", "IndexError: list index out of range (line 2)"),
    "cpp": ("long long f(long long x) { std::vector<long long> v; return v.at(x); }", "std::out_of_range"),
    "java": ("static long f(long x) { long[] a = {}; return a[(int) x]; }", "ArrayIndexOutOfBoundsException"),
    "php": ("function f($x) { return intdiv($x, 0); }", "DivisionByZeroError"),
    "bash": ("f() { echo $((1 / 0)); }", "ended its shell"),
    "javascript": ("function f(x) { return x.a.b; }", "TypeError"),
}

OUT_OF_MEMORY = {
    "python": "def f(x):\n    raise MemoryError\n",
    "cpp": "long long f(long long x) { throw std::bad_alloc(); }",
    "java": """
static long f(long x) {
  long[][] a = new long[1000][];
  for (int i = 0; i < 1000; i++) a[i] = new long[1 << 20];
  return a.length;
}
""",
}

# Ends the process with status 0 before it answers.
EXITING = {
    "python": ("import sys\ndef f(x):\n    sys.exit(0)\n", "import os\nos._exit(0)\n", "exit(0)\n"),
    "cpp": (
        "long long f(long long x) { _Exit(0); }",
        "static int early = (_Exit(0), 0); long long f(long long x) { return x; }",
    ),
    "java": (
        "static long f(long x) { System.exit(0); return x; }",
        "static { System.exit(0); } static long f(long x) { return x; }",
    ),
    "php": ("function f($x) { exit(0); }", "<?php exit(0); function f($x) { return $x; }"),
    "bash": ("f() { echo 1; }\nexit 0", "trap 'exit 0' EXIT; f() { echo 1; }; exit 0"),
    "javascript": ("function f(x) { process.exit(0); }", "process.exit(0)"),
}

# Returns something that is no int.
MISTYPED = {
    "python": (
        "def f(x):\n    return str(x)\n",
        "def f(x):\n    return True\n",
        "def f(x):\n    return 1.0\n",
        "def f(x):\n    return 2**63\n",
        "def f(x): pass",
    ),
    "java": (
        'static String f(long x) { return "1"; }',
        "static double f(long x) { return 1; }",
        "static Long f(long x) { return null; }",
    ),
    "php": (
        "function f($x) { return '1'; }",
        "function f($x) { return true; }",
        "function f($x) { return 1.0; }",
        "function f($x) {}",
    ),
    "bash": (
        "f() { echo one; }",
        "f() { :; }",
        "f() { echo 1; echo 2; }",
        "f() { echo 007; }",
        "f() { echo 9223372036854775808; }",
    ),
    "javascript": (
        "function f(x) { return '1'; }",
        "function f(x) { return x / 2; }",
        "function f(x) { return NaN; }",
        "async function f(x) { return 1; }",
        "function f() {}",
    ),
}

# Does not compile, and where the detail must point.
BROKEN = {
    "python": ("def f(x:\n    return 1\n", "line 1"),
    "cpp": ("long long f(long long x) { return y; }", "main.cpp:1"),
    "java": ("static long f(long x) { return y; }", "Main.java:1"),
    "php": ("function f($x) { return 1 }", "ParseError"),
    "bash": ("f() { if true; echo 1; }", "syntax error"),
    "javascript": ("function f(x) { return 1", "SyntaxError"),
    "c": ("long long f(long long x) { return y; }", "main.c:1"),
}

# Compiles and defines another function.
ABSENT = {
    "python": "def g(x):\n    return x\n",
    "cpp": "long long g(long long x) { return x; }",
    "java": "static long g(long x) { return x; }",
    "php": "function g($x) { return $x; }",
    "bash": "g() { echo 1; }",
    "javascript": "function g(x) { return x; }",
}

# Gives its argument back, after redefining what it can reach.
VANDALS = {
    "python": """
import builtins, json
json.dumps = json.loads = builtins.print = None
class Liar(int):
    __eq__ = __ne__ = lambda *_: True
    __repr__ = __str__ = lambda self: '41'
def f(x):
    return Liar(x)
""",
    "javascript": """
JSON.stringify = JSON.parse = () => '41';
Array.isArray = () => true;
function f(x) { return x; }
""",
    "java": "static class System {} static class String {} static class Math {} static long f(long x) { return x; }",
    "cpp": """
namespace oorl_driver { static void write(int) {} }
#define read write
#define value 41
long long count(long long x) { return x; }
long long f(long long x) { return count(x); }
""",
    "bash": """
set -euo pipefail
IFS=0123
shopt -s nocasematch
echo() { builtin echo 41; }
f() { builtin echo "$1"; }
""",
    "php": "function call() {} function encode() {} function load() {} function f($x) { return $x; }",
}

# Whole programs: print the sum of the integers on standard input.
SUMS = {
    "python": """
import sys
if __name__ == '__main__':
    print(sum(map(int, sys.stdin.read().split())))
    exit()
""",
    "cpp": """
#include <iostream>
int main() { long long t = 0, x; while (std::cin >> x) t += x; std::cout << t << '\\n'; }
""",
    "java": """
import java.util.*;
public class Sum {
  public static void main(String[] args) {
    Scanner in = new Scanner(System.in);
    long t = 0;
    while (in.hasNextLong()) t += in.nextLong();
    System.out.println(t);
  }
}
""",
    "php": "<?php echo array_sum(preg_split('/\\s+/', trim(stream_get_contents(STDIN)))), PHP_EOL;",
    "bash": "t=0; while read -r a b; do t=$((t + a + b)); done; echo $t",
    "javascript": """
const words = require('fs').readFileSync(0, 'utf8').trim().split(/\\s+/);
console.log(words.map(Number).reduce((a, b) => a + b));
""",
    "c": """
#include <stdio.h>
int main(void) { long long t = 0, x; while (scanf("%lld", &x) == 1) t += x; printf("%lld\\n", t); }
""",
}

# Completions that return x + 1, in the shapes models write.
JAVA_SHAPES = {
    "a public class of any name": """
import java.util.*;
// static long f(long x) {
public class Thing { public static long f(long x) { return x + 1; } }
""",
    "two classes": """
class Helper { static long one() { return 1; } }
class Answer { static long f(long x) { return x + Helper.one(); } }
""",
    "methods beside a class": """
class Box { long v; Box(long v) { this.v = v; } }
static long f(long x) { return new Box(x + 1).v; }
""",
    "methods beside a record": """
record Box(long v) {}
static long f(long x) { return new Box(x + 1).v(); }
""",
    "an instance method": "long f(long x) { return x + 1; }",
    "imports before methods": """
import java.util.stream.LongStream;

static long f(long x) { return LongStream.of(x, 1).sum(); }
""",
    "int and its box": "static Integer f(int x) { return x + 1; }",
    "braces in text": """
static long f(long x) {
  String s = "class X { \\" }"; char c = '{'; /* } */ // {
  return x + 1;
}
""",
    "an inner class": """
class Solution {
  static class In { long g(long x) { return x + 1; } }
  static long f(long x) { return new In().g(x); }
}
""",
    "an overload": """
static long f(long x) { return f(x, 1); }
static long f(long x, long y) { return x + y; }
""",
}
CPP_SHAPES = {
    "a main of its own": """
#include <iostream>
long long f(long long x) { return x + 1; }
int main() { return 0; }
""",
    "macros over types": """
#define int long long
int f(int x) { return x + 1; }
#define double broken
""",
    "a header outside the everyday ones": """
#include <bits/stdc++.h>
long long f(long long x) { return x + 1; }
""",
    "a name from such a header, not included": """
long long f(long long x) { std::bitset<8> b(1); return x + (long long)b.count(); }
""",
    "the name of a library function": """
long long abs(long long x, int y) { return x; }
long long f(long long &x) { return ++x; }
""",
    "a static function": "static long long f(long long x) { return x + 1; }",
    "a narrower integer": "int f(int x) { return x + 1; }",
}
C_LIBRARY_NAME = """
static long long one(void) { return 1; }
double y1(double x) { return x + one(); }
long long f(long long x) { return y1(x); }
"""
