// Programs and maps of the kernel by the ids that it tells.
//
// The kernel opens them by id for CAP_SYS_ADMIN alone; CAP_BPF is not enough. What this process has
// loaded itself, it has a descriptor of somewhere (the driver's, of the steering program): that one
// is found and duplicated without any right. So after the start, when CAP_SYS_ADMIN is gone, the
// own programs are still found, and those of an earlier run only during the start.
//
// Thread: main. An invalid descriptor and errno: it cannot be opened.
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>

#include <vector>

#include "base/file_descriptor.h"

namespace dr {

[[nodiscard]] FileDescriptor bpf_program_by_id(__u32 id);
[[nodiscard]] FileDescriptor bpf_map_by_id(__u32 id);

// The maps of a program, by id; info: what else the kernel tells of it.
[[nodiscard]] std::vector<__u32> bpf_maps_of(int program_fd, bpf_prog_info* info);
// Closes this process's descriptors of a program, its maps and its types: a driver forgets them
// with its device. No object that is still used may hold one.
void bpf_close_leaked(__u32 program_id);

}  // namespace dr
