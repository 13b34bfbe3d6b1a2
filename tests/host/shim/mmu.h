// See defs.h here.
#include "defs.h"
