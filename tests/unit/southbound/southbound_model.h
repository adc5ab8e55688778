// A naive model of the table writer: ordered maps, no concurrency, everything recomputed. The
// random test and the fuzzer compare the real tables with it.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "dataplane/tables/tables.h"
#include "dataplane/writer/table_writer.h"

namespace dr::southbound::test {

class Model final {
  public:
    // Whether the transaction is good, capacities aside; changes the model only when it is.
    bool commit(const Transaction& transaction, bool force);
    void sync_begin();
    bool sync_end(bool force);

    // Empty when the tables say exactly what the model says, else the first difference.
    [[nodiscard]] std::string compare(const Tables& tables, const TableWriter& writer) const;

    [[nodiscard]] std::size_t subscribers() const { return state_.subscribers.size(); }

  private:
    using Raw = std::vector<std::uint8_t>;
    struct State {
        std::map<std::uint32_t, Raw> pools, policies, subscribers;
    };
    struct Marks {
        std::set<std::uint32_t> pools, policies, subscribers;
    };
    [[nodiscard]] bool consistent(const State& state) const;
    [[nodiscard]] bool guarded(const State& next) const;
    [[nodiscard]] bool guarded_in_sync(const State& next) const;
    void accept(State next, bool force);
    [[nodiscard]] std::uint32_t owner(const IpAddress& address) const;
    [[nodiscard]] std::string compare_counts(const Tables& tables, const TableWriter& writer) const;
    [[nodiscard]] std::string compare_subscriber(std::uint32_t id, const Tables& tables,
                                                 const TableWriter& writer) const;

    State state_;
    Marks marks_;
    // Rows when the sync began, and how many of them went since without force.
    struct Loss {
        std::size_t pools, policies, subscribers, tunnels, prefixes;
    };
    bool syncing_ = false;
    Loss before_{};
    Loss gone_{};
};

}  // namespace dr::southbound::test
