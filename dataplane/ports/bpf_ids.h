// Programs and maps of the kernel by the ids that it tells.
//
// The kernel opens them by id for CAP_SYS_ADMIN alone; CAP_BPF is not enough. What this process has
// loaded itself, it has a descriptor of somewhere (the driver's, of the steering program): that one
// is found and duplicated without any right. So after the start, when CAP_SYS_ADMIN is gone, the
// own programs are still found, and those of an earlier run only during the start.
//
// Thread: main. An invalid descriptor and errno: it cannot be opened.
#pragma once

#include <linux/types.h>

#include "dataplane/ports/file_descriptor.h"

namespace dr {

[[nodiscard]] FileDescriptor bpf_program_by_id(__u32 id);
[[nodiscard]] FileDescriptor bpf_map_by_id(__u32 id);

}  // namespace dr
