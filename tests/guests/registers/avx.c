// Two threads spin with a pattern in ymm0 to ymm15.
// cc: -mavx
#define MOVE "vmovups"
#define REG "ymm"
#define WIDTH 32
#define COUNT 16
#define NEEDS "avx"
#define NUMBERS "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15"
#define CLOBBERS "ymm0", "ymm1", "ymm2", "ymm3", "ymm4", "ymm5", "ymm6", "ymm7", "ymm8", "ymm9", "ymm10", "ymm11", "ymm12", "ymm13", "ymm14", "ymm15"
#include "vectors.h"
