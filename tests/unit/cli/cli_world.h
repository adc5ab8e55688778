// drcli's commands against a small server in the same process, whose answers the tests choose.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "dr/v1/resource.pb.h"

struct Result {
    int code = -1;
    std::string out;
    std::string err;
};

// One command, with `input` as its standard input.
Result run_at(const std::string& server, const std::vector<std::string>& arguments,
              const std::string& input = "");

// What the server is told to do, and what it has seen.
struct PoolsCalls {
    int list_calls = 0;
};
struct ResourcesCalls {
    bool interrupts = false;  // presses Ctrl-C when it has read all
    int largest_message = 0;
    dr::v1::Resource last;
};
struct SystemCalls {
    int calls = 0;
    int behind_for = 3;
};
struct TunnelsCalls {
    std::size_t message_bytes = 0;
};

class Fixture {
  public:
    Fixture();
    ~Fixture();
    Fixture(const Fixture&) = delete;
    Fixture& operator=(const Fixture&) = delete;

    Result run(const std::vector<std::string>& arguments, const std::string& input = "") const;

    PoolsCalls pools;
    ResourcesCalls resources;
    SystemCalls system;
    TunnelsCalls tunnels;

  private:
    struct Server;
    std::unique_ptr<Server> server_;
};

// A pool of that name as `drcli apply` reads it.
std::string pool(const std::string& name);
