#include <malloc.h>

#include "rft/app/app.h"

int main(int argc, char** argv) {
  // Activations of one step are the next step's: given back to the system they would be paged in anew each time, at an
  // eighth to a quarter of a small model's step.
  mallopt(M_MMAP_THRESHOLD, 1 << 30), mallopt(M_TRIM_THRESHOLD, 2047 << 20), mallopt(M_TOP_PAD, 64 << 20);
  return rft::run(argc, argv);
}
