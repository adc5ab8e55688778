// What both of drd's gRPC servers are built with, or without.
#pragma once

#include <grpcpp/server_builder.h>

namespace dr::control {

// Leaves out the services that a plugin adds to every server of the process: reflection is for the
// operator's API alone.
void without_plugins(grpc::ServerBuilder& builder);

// A quota of the server's own: a quarter of the machine's memory. A last resort, since gRPC makes
// room by ending streams of whomever it finds first; the limits of each peer come before it.
// `threads`: for calls that gRPC serves on threads; 0: any number.
void limit_memory(grpc::ServerBuilder& builder, const char* name, int threads = 0);

// Gives memory that is free back to the system, every few seconds: what an attack, or a bulk load,
// has taken does not stay the process's for ever. A thread of its own while it lives.
class HeapTrimmer {
  public:
    HeapTrimmer();
    HeapTrimmer(const HeapTrimmer&) = delete;
    HeapTrimmer& operator=(const HeapTrimmer&) = delete;
    ~HeapTrimmer();

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace dr::control
