// One interface, taken whole by a packet socket: every frame that arrives, every frame to be sent.
//
// recvmmsg and sendmmsg straight from and into the pool's buffers, past the queueing discipline.
// The vnet header tells unfinished checksums, which are completed, and segments, which are refused.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "base/file_descriptor.h"
#include "tests/linkem/counters.h"
#include "tests/linkem/frame_pool.h"

namespace dr::linkem {

class PacketPort {
  public:
    static constexpr std::size_t kBurst = 64;

    // Throws std::system_error naming the interface.
    PacketPort(const std::string& interface, FramePool& pool);

    int fd() const { return socket_.get(); }

    // Up to a burst of frames that wait, appended to `frames`; true when more may wait.
    bool receive(std::vector<FrameHandle>& frames, Counters& counters);

    // Sent by flush(), or before when a burst is full. `counters` are of the frame's direction.
    void transmit(FrameHandle frame, Counters& counters);
    void flush(Counters& counters);

    // Frames that the kernel dropped since the last call, because they were read too slowly.
    std::uint64_t overruns();

  private:
    FramePool& pool_;
    FileDescriptor socket_;
    std::vector<FrameHandle> empty_;  // to receive into
    std::vector<FrameHandle> out_;
};

}  // namespace dr::linkem
