// On which NUMA nodes memory that is mapped but not touched yet will be taken.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dr {

// nodes: bit n for node n. One: preferred there; several: pages alternate among them, so that no
// node's memory carries all readers; none: nothing happens. Whole pages of [data, data + bytes)
// only. Advice: a kernel without NUMA, or a full node, changes speed and nothing else, so false is
// for tests.
bool place(const void* data, std::size_t bytes, std::uint64_t nodes) noexcept;

}  // namespace dr
