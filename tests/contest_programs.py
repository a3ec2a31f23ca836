"""Programs of the kind that online judges receive, in C, and some that no group can be made of."""

PROGRAMS = {
    "sum": """
#include <stdio.h>
int main(void) { int n, x, s = 0; scanf("%d", &n); for (int i = 0; i < n; i++) { scanf("%d", &x); s += x; }
  printf("%d\\n", s); return 0; }
""",
    "gcd": """
#include <stdio.h>
int gcd(int a, int b) { return b == 0 ? a : gcd(b, a % b); }
int main() { int a, b; while (scanf("%d %d", &a, &b) != EOF) printf("%d\\n", gcd(a, b)); return 0; }
""",
    "max_subarray": """
#include <stdio.h>
int main(void) { int n, x, best, cur = 0; scanf("%d", &n); if (scanf("%d", &x) != 1) return 1; best = cur = x;
  for (int i = 1; i < n; i++) { if (scanf("%d", &x) != 1) break; cur = cur > 0 ? cur + x : x;
    if (cur > best) best = cur; } printf("%d\\n", best); return 0; }
""",
    "reverse": """
#include <stdio.h>
#include <string.h>
int main(void) { char s[101]; if (scanf("%100s", s) != 1) return 0;
  for (int i = (int)strlen(s) - 1; i >= 0; i--) putchar(s[i]); putchar('\\n'); return 0; }
""",
    "count": """
#include <ctype.h>
#include <stdio.h>
int main() { int c, d = 0, w = 0, in = 0; while ((c = getchar()) != EOF) { if (isdigit(c)) d++;
  if (c == ' ' || c == '\\n') in = 0; else if (!in) { in = 1; w++; } } printf("%d %d\\n", d, w); return 0; }
""",
    "matrix": """
#include <stdio.h>
int a[10][10];
int main() { int n, t = 0; scanf("%d", &n); if (n > 10 || n < 0) return 1;
  for (int i = 0; i < n; i++) for (int j = 0; j < n; j++) scanf("%d", &a[i][j]);
  for (int i = 0; i < n; i++) t += a[i][i]; printf("%d\\n", t); return 0; }
""",
    "fizzbuzz": """
#include <stdio.h>
int main(void) { int n; scanf("%d", &n); for (int i = 1; i <= n && i <= 60; i++) {
  if (i % 15 == 0) puts("FizzBuzz"); else if (i % 3 == 0) puts("Fizz"); else if (i % 5 == 0) puts("Buzz");
  else printf("%d\\n", i); } return 0; }
""",
    "sort": """
#include <stdio.h>
int main(void) { int n, a[50]; scanf("%d", &n); if (n > 50) n = 50; for (int i = 0; i < n; i++) scanf("%d", a + i);
  for (int i = 0; i < n; i++) for (int j = i + 1; j < n; j++)
    if (a[j] < a[i]) { int t = a[i]; a[i] = a[j]; a[j] = t; }
  for (int i = 0; i < n; i++) printf("%d%c", a[i], i == n - 1 ? '\\n' : ' '); return 0; }
""",
    "sieve": """
#include <stdio.h>
char composite[1001];
int main(void) { int n, count = 0; scanf("%d", &n); if (n > 1000) n = 1000;
  for (int i = 2; i <= n; i++) { if (composite[i]) continue; count++;
    for (int j = i * i; j <= n; j += i) composite[j] = 1; } printf("%d\\n", count); }
""",
    "calculator": """
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) { int a, b; char op; if (scanf("%d %c %d", &a, &op, &b) != 3) exit(2);
  if (op == '+') printf("%d\\n", a + b); else if (op == '-') printf("%d\\n", a - b);
  else if (op == '*') printf("%d\\n", a * b); else exit(3); return 0; }
""",
    "lines": """
#include <stdio.h>
#include <stdlib.h>
int main(void) { char line[64]; int sum = 0; while (fgets(line, sizeof line, stdin)) sum += atoi(line);
  printf("value returned: %5d #1\\n", sum); return 0; }
""",
    "median": """
#include <stdio.h>
#include <stdlib.h>
int cmp(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
int main(void) { int n; if (scanf("%d", &n) != 1 || n < 1) return 1; int *a = malloc(n * sizeof *a);
  for (int i = 0; i < n; i++) if (scanf("%d", &a[i]) != 1) return 2;
  qsort(a, n, sizeof *a, cmp); printf("%d\\n", a[n / 2]); free(a); return 0; }
""",
    "digits": """
#include <stdio.h>
int main(void) { int n; while (1) { if (scanf("%d", &n) != 1 || n == 0) break; int d = 0;
  while (n) { d += n % 10; n /= 10; } printf("%d\\n", d); } return 0; }
""",
    "mean": """
#include <stdio.h>
int main(void) { int n; double x, s = 0; scanf("%d", &n); for (int i = 0; i < n; i++) { scanf("%lf", &x); s += x; }
  printf("%.2f\\n", n > 0 ? s / n : 0.0); return 0; }
""",
}

# Each with the kind of its refusal.
REFUSED = {
    "endless": (
        "undefined",
        '#include <stdio.h>\nint main(void) { int n; scanf("%d", &n); for (volatile int k = 1; k;) n++; return n; }\n',
    ),
    "flood": (
        "undefined",
        '#include <stdio.h>\nint main(void) { int n; scanf("%d", &n); while (1) printf("%d\\n", n++ & 7); }\n',
    ),
    "long": (
        "undefined",
        '#include <stdio.h>\nint main(void) { int n; scanf("%d", &n); for (int i = 0; i < 3000; i++) putchar(n); }\n',
    ),
    "shell": (
        "external",
        '#include <stdio.h>\n#include <stdlib.h>\nint main(void) { int n; scanf("%d", &n); return system("echo"); }\n',
    ),
    "unwritten": (
        "undefined",
        '#include <stdio.h>\nint main(void) { int n, a[8]; scanf("%d", &n); printf("%d\\n", n + a[n & 7]); }\n',
    ),
    "unwritten_heap": (
        "undefined",
        "#include <stdio.h>\n#include <stdlib.h>\n"
        'int main(void) { int n, *p = malloc(16); scanf("%d", &n); printf("%d\\n", n + *p); }\n',
    ),
    "constant": (
        "constant",
        '#include <stdio.h>\nint main(void) { int n; scanf("%d", &n); puts("YES"); return 0; }\n',
    ),
    "reads_nothing": ("constant", '#include <stdio.h>\nint main(void) { puts("Hello World"); return 0; }\n'),
    "large": (
        "memory",
        '#include <stdio.h>\nint a[1000000];\nint main(void) { int n; scanf("%d", &n); a[n & 7] = n; '
        'printf("%d\\n", a[n & 3]); }\n',
    ),
    "arguments": ("signature", "#include <stdio.h>\nint main(int n, char **a, char **e) { return getchar(); }\n"),
    "broken": ("compile", '#include <stdio.h>\nint main(void) { int n; scanf("%d", &n) printf("%d", n); }\n'),
}
