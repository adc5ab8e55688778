// One client's socket: takes messages apart, keeps what waits to be sent within bounds, passes a
// descriptor along. Knows nothing of what messages mean. Never blocks.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "dataplane/southbound/codec.h"

namespace dr::southbound {

class Connection final {
  public:
    // Owns fd, which must be non-blocking. max_outgoing: bytes that may wait to be sent.
    Connection(int fd, std::size_t max_outgoing);
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    enum class Received : std::uint8_t { Data, Nothing, Closed };
    // Reads what is there, at most one buffer full. Call next() until it gives nothing before the
    // next receive().
    Received receive();

    struct Message {
        Header header;
        Bytes body;  // valid until the next receive()
    };
    enum class Next : std::uint8_t { Message, Incomplete, Malformed };
    // Malformed: *fault says why; the stream cannot be understood any further.
    Next next(Message* message, const char** fault);

    // Queues a message and sends what the socket takes. passed: a descriptor to hand over with it,
    // which must stay open until then; -1: none. false: the peer is gone, or does not read.
    bool send(Type type, Bytes body, int passed = -1);
    // Sends what the socket takes. false: the peer is gone.
    bool flush();
    [[nodiscard]] bool has_outgoing() const { return !outgoing_.empty(); }

    [[nodiscard]] int fd() const { return fd_; }

  private:
    struct Chunk {
        std::vector<std::uint8_t> bytes;
        std::size_t sent{};
        int passed{};
    };
    long send_chunk(const Chunk& chunk) const;

    int fd_;
    std::size_t max_outgoing_;
    std::size_t outgoing_bytes_{};
    std::deque<Chunk> outgoing_;
    std::vector<std::uint8_t> incoming_;
    std::size_t begin_{};  // of what next() has not seen
    std::size_t end_{};
};

}  // namespace dr::southbound
