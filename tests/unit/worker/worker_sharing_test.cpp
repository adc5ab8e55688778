// What workers share they only read: else each packet of one would take a cache line from another.
#include <sys/mman.h>

#include <catch2/catch.hpp>
#include <vector>

#include "tests/support/pipeline.h"

using namespace dr;
using namespace dr::test;

namespace {

// A write to any row of these tables is a segmentation fault while this lives.
class ReadOnly final {
  public:
    explicit ReadOnly(Tables& t) {
        const auto add = [this](auto& rows) { ranges_.push_back({&rows[0], rows.bytes()}); };
        add(t.subscribers);
        add(t.extra);
        add(t.tunnel_of_slot);
        add(t.tunnels);
        add(t.maps);
        add(t.next_hops);
        add(t.next_hop_rows);
        protect(PROT_READ);
    }
    ~ReadOnly() { protect(PROT_READ | PROT_WRITE); }
    ReadOnly(const ReadOnly&) = delete;
    ReadOnly& operator=(const ReadOnly&) = delete;

    [[nodiscard]] bool holds() const { return holds_; }

  private:
    struct Range {
        void* start;
        std::size_t bytes;
    };
    void protect(int access) {
        for (const Range& r : ranges_)
            if (mprotect(r.start, r.bytes, access) != 0) holds_ = false;
    }
    std::vector<Range> ranges_;
    bool holds_ = true;
};

}  // namespace

TEST_CASE("a worker writes to no table row while it forwards in both directions") {
    REQUIRE(start_eal());
    Pipeline p;
    unsigned sent = 0;
    const ReadOnly guard(p.tables());
    REQUIRE(guard.holds());
    for (unsigned n = 1; n <= kSubscribers; ++n)
        for (const unsigned family : {4U, 6U}) {
            const Bytes site = site_address(n, family);
            const Bytes outside = outside_address(family);
            REQUIRE(p.send(0, ethernet_frame(0, udp_packet(outside, site, 18))));
            ++sent;
            for (unsigned kind = 0; kind < 4; ++kind)
                REQUIRE(p.send(1, tunnel_frame(n, kind, udp_packet(site, outside, 18))));
        }
    p.run();
    CHECK(p.exit(Exit::ForwardedDownlink) == sent);
    CHECK(p.exit(Exit::ForwardedUplink) == 4 * sent);
}
