// Buffers for frames in flight: taken at start, handed out by a stack so that recent ones stay
// warm.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace dr::linkem {

// In front of each frame of a packet socket with PACKET_VNET_HDR (VIRTIO 1.2, 5.1.6, the legacy
// form), in host byte order. The kernel's own header for it is not C++.
struct OffloadHeader {
    static constexpr std::uint8_t kNeedsChecksum = 1;
    std::uint8_t flags;
    std::uint8_t segmentation;  // 0: none
    std::uint16_t header_bytes;
    std::uint16_t segment_bytes;
    std::uint16_t checksum_start;
    std::uint16_t checksum_offset;  // from checksum_start
};
static_assert(sizeof(OffloadHeader) == 10);

// Without initializers, so that a pool touches no page before its first use.
struct Frame {
    // Room for an Ethernet header and an MTU of 2000; what is longer stems from offloads.
    static constexpr std::size_t kRoom = 2034;
    OffloadHeader offload;  // directly in front of the frame, as packet sockets hand it over
    std::array<std::uint8_t, kRoom> data;
    std::uint16_t size;

    std::span<std::uint8_t> bytes() { return {data.data(), size}; }
};

static_assert(offsetof(Frame, data) == sizeof(OffloadHeader));

class FramePool {
  public:
    struct Return {
        FramePool* pool;
        void operator()(Frame* frame) const { pool->free_.push_back(frame); }
    };
    using Handle = std::unique_ptr<Frame, Return>;

    // Memory is touched, and so used, only as far as frames are in flight.
    explicit FramePool(std::size_t frames) : storage_(new Frame[frames]) {
        free_.reserve(frames);
        for (std::size_t i = frames; i-- > 0;) free_.push_back(&storage_[i]);
    }

    Handle take() {  // empty when all are in flight
        if (free_.empty()) return Handle(nullptr, Return{this});
        Frame* frame = free_.back();
        free_.pop_back();
        return Handle(frame, Return{this});
    }

    std::size_t available() const { return free_.size(); }

  private:
    std::unique_ptr<Frame[]> storage_;
    std::vector<Frame*> free_;
};

using FrameHandle = FramePool::Handle;

}  // namespace dr::linkem
