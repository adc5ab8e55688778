// Which worker polls which receive queue, and on which NUMA node memory is taken. A pure function
// of a description of the machine, so that a machine with two sockets can be tested on any machine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dataplane/ports/port.h"

namespace dr {

// NUMA node of a port or a worker's CPU; below 0: none in particular (software ports).
struct Topology {
    struct PortPlace {
        std::string name;
        int node = -1;
        std::uint16_t rx_queues = 1;
    };
    std::vector<PortPlace> ports;
    std::vector<int> worker_nodes;
};

struct Assignment {
    std::vector<std::vector<RxQueue>> queues;  // by worker
    std::vector<int> pool_nodes;               // by port: where its packet buffers are
    // By worker: where its counters are.
    std::vector<int> worker_nodes;
    // Nodes over which the lookup tables are spread: those with workers; bit n: node n.
    std::uint64_t table_nodes = 0;
    // The node of packets that the data plane itself makes: one of pool_nodes.
    int own_pool_node = 0;
    bool one_pool = true;               // all of pool_nodes are the same
    std::vector<std::string> warnings;  // for the operator, a line each
};

// Every queue gets one worker. The workers' numbers of queues differ by at most one; within that, a
// queue's worker is on its port's node.
Assignment assign(const Topology& topology);

// The NUMA node of a CPU, from its folder /sys/devices/system/cpu/cpuN; 0 if there is only one.
int node_of_cpu(unsigned cpu, const std::string& root = "/sys/devices/system/cpu");

}  // namespace dr
