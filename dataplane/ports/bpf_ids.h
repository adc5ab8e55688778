// Opens programs and maps of the kernel by their ids.
//
// Opening by id needs CAP_SYS_ADMIN; CAP_BPF is not enough. For a program that this process has
// loaded it already has a descriptor somewhere (the driver's, for the steering program), which can
// be found and duplicated without any capability. So after the start, without CAP_SYS_ADMIN, the
// process still finds its own programs; it finds those of an earlier run only during the start.
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

// The maps of a program, by id; info: the kernel's information about it.
[[nodiscard]] std::vector<__u32> bpf_maps_of(int program_fd, bpf_prog_info* info);
// Closes this process's descriptors of a program, its maps and its types, which a driver leaves
// open when its device is closed. No object that is still used may hold one.
void bpf_close_leaked(__u32 program_id);

}  // namespace dr
