#include "rft/app/app.h"

int main(int argc, char** argv) { return rft::run(argc, argv); }
