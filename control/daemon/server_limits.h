// Settings that both of drd's gRPC servers share.
#pragma once

#include <grpcpp/server_builder.h>

namespace dr::control {

// Leaves out the services that a plugin adds to every server of the process: reflection is for the
// operator's API alone.
void without_plugins(grpc::ServerBuilder& builder);

// A quota of the server's own: a quarter of the machine's memory. It is a last resort, because gRPC
// then ends any stream; the limits of each peer apply earlier. `threads`: for calls that gRPC
// serves on threads; 0: any number.
void limit_memory(grpc::ServerBuilder& builder, const char* name, int threads = 0);

// Returns free memory to the system every few seconds, so that memory of an attack or a bulk load
// does not stay with the process. Has a thread of its own while it exists.
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
