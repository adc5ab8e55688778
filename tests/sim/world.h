// One subscriber on its own virtual clock, and what all subscribers together came to.
#pragma once

#include <string>
#include <vector>

#include "tests/sim/scenario.h"

namespace dr::sim {

struct Result {
    // Tunnels that left Up; one that does so at both ends within one outage counts once. False:
    // neither direction was cut then, nor within the 3 s before.
    unsigned downs = 0;
    unsigned false_downs = 0;
    unsigned false_downs_first = 0;  // ... of the first line of a subscriber
    std::vector<float> detected_ms;  // from a cut to each end's Down
    unsigned undetected = 0;         // ends that a cut found Up, and that were so at its end
    // The line that the DR sends over has become another one.
    unsigned path_changes = 0;
    unsigned late_changes = 0;       // since the scenario's warm-up
    unsigned most_in_hour = 0;       // of one subscriber in one hour, hours from the start
    unsigned most_late_in_hour = 0;  // ..., hours from the end of the warm-up
    unsigned last_removed = 0;       // the DR had no line to send over though one was Up
    double without_path_s = 0;       // ... for whatever reason, after its first
    std::uint64_t messages = 0;

    void add(const Result& r);
    // 0 < p <= 1; 0 when nothing was detected. Sorts.
    double detection_ms(double p);
};

Result simulate_subscriber(const Scenario& scenario, const std::string& detector, unsigned number);
// All of them, by `jobs` threads; the result does not depend on how many.
Result simulate(const Scenario& scenario, const std::string& detector, unsigned jobs);

}  // namespace dr::sim
