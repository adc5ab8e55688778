// Sets the NUMA nodes for memory that is mapped but not touched yet.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dr {

// nodes: bit n for node n. One: preferred there; several: pages alternate among them, so that no
// node's memory carries all readers; none: nothing happens. Whole pages of [data, data + bytes)
// only. It is only advice: without NUMA, or with a full node, only speed changes. The result is for
// tests.
bool place(const void* data, std::size_t bytes, std::uint64_t nodes) noexcept;

}  // namespace dr
