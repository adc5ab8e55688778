// From a gRPC status to a sentence and an exit code.
#pragma once

#include <grpcpp/support/status.h>

#include <stdexcept>
#include <string>

#include "cli/context.h"

namespace dr::cli {

// Ends the command with a message on standard error and an exit code.
class Failure : public std::runtime_error {
  public:
    Failure(int exit_code, const std::string& message)
        : std::runtime_error(message), exit_code_(exit_code) {}
    [[nodiscard]] int exit_code() const { return exit_code_; }

  private:
    int exit_code_;
};

// The sentence for a person: the server's message, or one for the code when it sent none; each
// field violation of google.rpc.BadRequest (trailer grpc-status-details-bin) follows on a line of
// its own, indented by two blanks: "  subscriber.prefixes[1]: host bits set". A single violation
// that the message already contains is not repeated.
[[nodiscard]] std::string describe(const grpc::Status& status);

// kExitUsage for errors of the connection, kExitRefused for answers of the server. `connected`: the
// channel was still connected after the call.
[[nodiscard]] int exit_code_of(const grpc::Status& status, bool connected);

// Throws Failure unless the status is OK.
void check(Context& context, const grpc::Status& status);

// A watch goes on until its reader ends it. If the server ends it, that is a Failure, also when drd
// stops properly.
[[noreturn]] void watch_ended(Context& context, const grpc::Status& status);

}  // namespace dr::cli
