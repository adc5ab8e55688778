// A table writer with small tables, and sites that fit in them.
#pragma once

#include <catch2/catch.hpp>
#include <memory>
#include <set>
#include <string>

#include "dataplane/writer/table_writer.h"
#include "tests/unit/southbound/southbound_records.h"

namespace dr::southbound::test {

inline Capacity small() {
    return {64, 256, 256, 64, 512, 512, 256, 256};
}

struct Fixture {
    explicit Fixture(Capacity capacity = small()) {
        std::string error;
        tables = Tables::create(capacity, &error);
        REQUIRE(tables != nullptr);
        rib = std::make_unique<Rib>(*tables);
        writer = std::make_unique<TableWriter>(
            *tables, *rib, WriterHooks{[this](std::uint32_t slot) { zeroed.insert(slot); }});
    }
    Outcome commit(const Txn& txn, bool force = false) { return writer->commit(txn, force); }
    State state() const {
        State s{};
        writer->fill(&s);
        return s;
    }
    Target lookup(const std::string& text) const {
        const IpAddress a = address(text);
        return a.family == 4 ? tables->lpm4->lookup(a.bytes.data())
                             : tables->lpm6->lookup(a.bytes.data());
    }
    std::uint32_t row_of(std::uint32_t slot) const { return tables->tunnel_of_slot[slot].load(); }
    const SubscriberRow& subscriber(std::uint32_t id) const {
        return tables->subscribers[writer->find_subscriber(id).value];
    }

    std::unique_ptr<Tables> tables;
    std::unique_ptr<Rib> rib;
    std::unique_ptr<TableWriter> writer;
    std::multiset<std::uint32_t> zeroed;
};

inline const TierSpec kBoth{{"a", 3}, {"b", 1}};

inline SubscriberSpec site(std::uint32_t id) {
    const std::string n = std::to_string(id);
    return {
        id, {"10.0." + n + ".0/24", "2001:db8:" + n + "::/48"}, {{"a", 2 * id}, {"b", 2 * id + 1}}};
}

inline Txn sites(std::uint32_t first, std::uint32_t last) {
    Txn txn;
    txn.put(policy(1, {kBoth}));
    for (std::uint32_t id = first; id <= last; ++id) txn.put(site(id));
    return txn;
}

}  // namespace dr::southbound::test
