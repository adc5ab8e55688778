// DPDK's environment: one start for each process, quiet unless it fails.
//
// Thread: main.
#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <vector>

#include "dataplane/config/config.h"

namespace dr {

// Collects the log of DPDK, libbpf and the drivers during the start, so that an error message can
// include it.
class StartLog final {
  public:
    StartLog();
    // From now on errors are printed on standard error at once.
    ~StartLog();
    StartLog(const StartLog&) = delete;
    StartLog& operator=(const StartLog&) = delete;

    // Forgets the lines so far.
    void clear();
    // The last lines, indented for standard error; empty if there are none.
    [[nodiscard]] std::string text() const;
    void add(const char* bytes, std::size_t length);

  private:
    std::string partial_;
    std::deque<std::string> lines_;
};

class Eal final {
  public:
    // Starts EAL. The writer runs on the calling thread, worker n on lcore n + 1, liveness thread n
    // on the lcore after the workers', on the writer's CPU. false and a
    // reason; `notice` gets a line for the operator when there are no huge pages.
    bool start(const Config& config, bool no_huge, std::string* notice, std::string* error);
    Eal() = default;
    ~Eal();
    Eal(const Eal&) = delete;
    Eal& operator=(const Eal&) = delete;

    // NUMA node of each worker's CPU.
    [[nodiscard]] const std::vector<int>& worker_nodes() const { return worker_nodes_; }

  private:
    bool started_ = false;
    std::vector<int> worker_nodes_;
};

// For Eal and its tests: the CPU of each lcore, the main thread's first. cpus: those this process
// may use, ascending. By default the main thread takes the first CPU and each worker a next one;
// when they run out, workers share all but the first, or the only one.
std::vector<unsigned> lcore_cpus(const Config& config, const std::vector<unsigned>& cpus);
// The same as EAL's --lcores argument.
std::string lcores_argument(const Config& config, const std::vector<unsigned>& cpus);

}  // namespace dr
