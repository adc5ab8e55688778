// Maps fixed-size memory, on huge pages if there are any.
#include "dataplane/tables/region.h"

#include <linux/mman.h>
#include <sys/mman.h>

namespace dr {

namespace {
constexpr std::size_t kHugePage = 2UL * 1024 * 1024;
}

Region::Region(std::size_t bytes) {
    size_ = (bytes + kHugePage - 1) / kHugePage * kHugePage;
    // Explicit huge pages first, of this size: the machine's default may be 1 GiB, and each region
    // would take a whole one. They are reserved by mmap, so that a shortage shows here and not as a
    // signal on first use.
    void* p = mmap(nullptr, size_, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB, -1, 0);
    if (p == MAP_FAILED) {
        p = mmap(nullptr, size_, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) {
            size_ = 0;
            return;
        }
        // Advice only: without transparent huge pages it works all the same, slower.
        (void)madvise(p, size_, MADV_HUGEPAGE);
    }
    data_ = p;
}

Region::~Region() {
    if (data_ != nullptr) munmap(data_, size_);
}

}  // namespace dr
