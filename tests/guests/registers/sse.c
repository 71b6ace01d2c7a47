// Two threads spin with a pattern in xmm0 to xmm15.
#define MOVE "movups"
#define REG "xmm"
#define WIDTH 16
#define COUNT 16
#define NEEDS "sse2"
#define NUMBERS "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15"
#define CLOBBERS "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"
#include "vectors.h"
