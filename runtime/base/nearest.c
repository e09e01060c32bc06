#include "runtime/base/nearest.h"

#include <string.h>

enum { NEAREST_MAX = 63 };

static int least(int a, int b) { return a < b ? a : b; }

int nearest_distance(const char *a, const char *b)
{
    int n = (int)strnlen(a, NEAREST_MAX), m = (int)strnlen(b, NEAREST_MAX);
    int rows[3][NEAREST_MAX + 1]; /* row i of the table is rows[i % 3] */
    for (int j = 0; j <= m; j++) rows[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *row = rows[i % 3], *above = rows[(i + 2) % 3], *two_above = rows[(i + 1) % 3];
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = least(row[j], two_above[j - 2] + 1);
        }
    }
    return rows[n % 3][m];
}

bool nearest_plausible(const char *word, int distance)
{
    int third = (int)strnlen(word, NEAREST_MAX) / 3;
    return distance <= (third > 2 ? third : 2);
}
