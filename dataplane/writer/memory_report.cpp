// What takes how much memory: for State, and so for `drcli system status`.
#include <string_view>

#include "dataplane/writer/writer_core.h"

namespace dr::southbound {
namespace {

Memory named(std::string_view name) {
    Memory memory{};
    name.copy(memory.name.data(), memory.name.size() - 1);
    return memory;
}

// touched: rows up to the highest that was ever in use.
template <typename Row>
Memory rows_of(std::string_view name, const RowArray<Row>& array, std::uint32_t touched,
               std::uint32_t rows, std::uint32_t capacity) {
    Memory memory = named(name);
    memory.bytes = std::uint64_t{touched} * sizeof(Row);
    memory.capacity_bytes = array.bytes();
    memory.rows = rows;
    memory.capacity_rows = capacity;
    return memory;
}

Memory plain(std::string_view name, std::uint64_t bytes, std::uint64_t capacity) {
    Memory memory = named(name);
    memory.bytes = bytes;
    memory.capacity_bytes = capacity;
    return memory;
}

class Report final {
  public:
    explicit Report(State* state) : state_(state) {
        state_->memories = 0;
        state_->memory = {};
    }
    void add(const Memory& memory) {
        if (state_->memories < kMaxMemories) state_->memory[state_->memories++] = memory;
    }
    template <std::size_t Bytes>
    void add_lookup(const std::string& family, const Lpm<Bytes>& lpm) {
        const auto memory = lpm.memory();
        add(plain("lookup" + family + ".root", memory.root, memory.root));
        Memory groups = plain("lookup" + family + ".groups", memory.groups_used, memory.groups);
        groups.rows = lpm.groups_used();
        groups.capacity_rows = lpm.groups_capacity();
        add(groups);
    }
    template <std::size_t Bytes>
    void add_lookup_writer(const std::string& family, const Lpm<Bytes>& lpm,
                           std::uint32_t capacity) {
        const auto memory = lpm.memory();
        Memory writer = plain("writer.lookup" + family, memory.writer_used, memory.writer);
        writer.rows = lpm.size();
        writer.capacity_rows = capacity;
        add(writer);
    }

  private:
    State* state_;
};

}  // namespace

Memory TableWriter::Core::records_memory() const {
    return plain("writer.records", books.record_bytes() + subscribers.entry_bytes(), 0);
}

Memory TableWriter::Core::keys_memory() const {
    return plain("writer.keys",
                 books.index_bytes() + subscribers.index_bytes() + tunnels.bytes() + maps.bytes(),
                 0);
}

void TableWriter::Core::report_memory(State* state) const {
    const Tables& t = tables;
    const Capacity& c = t.capacity;
    const std::uint32_t indices = subscribers.high_water();
    Report report(state);
    report.add(rows_of("subscribers", t.subscribers, indices, books.subscribers(), c.subscribers));
    report.add(rows_of("subscribers.lines", t.extra, indices, books.subscribers(), c.subscribers));
    report.add(rows_of("tunnels", t.tunnels, tunnels.high_water(), tunnels.count(), c.tunnels));
    report.add(rows_of("tunnels.slots", t.tunnel_of_slot, tunnels.highest_slot() + 1,
                       tunnels.count(), c.tunnels));
    report.add(rows_of("tunnels.keys", t.tunnel_keys, tunnels.keyed_slots(), tunnels.keyed_slots(),
                       c.tunnels));
    report.add(rows_of("maps", t.maps, maps.high_water(), maps.in_use(), c.maps));
    report.add(plain("next_hops", t.next_hops.bytes() + t.next_hop_rows.bytes(),
                     t.next_hops.bytes() + t.next_hop_rows.bytes()));
    report.add_lookup("4", *t.lpm4);
    report.add_lookup("6", *t.lpm6);
    report.add_lookup_writer("4", *t.lpm4, c.prefixes4);
    report.add_lookup_writer("6", *t.lpm6, c.prefixes6);
    report.add(records_memory());
    report.add(keys_memory());
}

}  // namespace dr::southbound
