// The site's lines as the kernel has them now: devices, addresses, gateways. Keeps the downlink
// program and the guard attached to the devices that exist; one that is missing, or vanishes and
// comes back (a USB modem), is taken up when it is there. A device that is renamed is still a way
// out of the site: its line is down, and the guard stays on it. Devices below a line's (of a VLAN,
// a macvlan, PPPoE) have the guard against plain packets. One thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "ur/config.h"
#include "ur/datapath.h"
#include "ur/netlink.h"
#include "ur/repairs.h"

namespace dr::ur {

// How a tunnel can be reached over its line.
struct LinePath {
    int index{};         // of the device; 0: there is none
    bool link{};         // up with carrier
    bool usable{};       // so, our address is known, and a route leads to the remote end
    IpAddress local;     // our outer address; family 0: none
    IpAddress next_hop;  // family 0: the remote end itself, on the link
    unsigned mtu{};      // of the device, bytes; 0: there is none
    // Where the address is not configured: those that there are.
    std::vector<IpAddress> sources;
    bool expires{};       // one of them goes at some time, unless it is renewed
    std::string trouble;  // why the line is not used though its device is there; empty: nothing
};

// What is known of a tunnel when a source is chosen for it.
struct SourceWish {
    IpAddress used;      // in use, and answered by the DR; family 0: none
    IpAddress answered;  // by the DR, at last; family 0: none
    // Which of `count` addresses is tried, from the best, where none is answered.
    std::function<std::size_t(std::size_t count)> turn;
};

// What a line is, for the DR.
struct LineFamilies {
    bool ipv4{};
    bool ipv6{};
};

class Lines final {
  public:
    // `always`: devices that are guarded from the start, with a tunnel or without; `lan`: the
    // LAN's, which has no guard where a line's lies on it; may be empty.
    Lines(Netlink& netlink, Datapath& datapath, Repairs& repairs, std::set<std::string> always,
          std::string lan);
    ~Lines();
    Lines(const Lines&) = delete;
    Lines& operator=(const Lines&) = delete;

    // The site's prefixes in use: no line has an address or a gateway in them.
    void set_prefixes(std::vector<IpPrefix> prefixes) { prefixes_ = std::move(prefixes); }
    // Whether the device is a line's; or that, or below one.
    [[nodiscard]] bool is_line(int index) const { return guards_.contains(index); }
    [[nodiscard]] bool has(int index) const { return is_line(index) || below_.contains(index); }
    // Looks at a tunnel's line again. Throws std::system_error when the kernel refuses.
    LinePath look(const Tunnel& tunnel, const SourceWish& wish);
    // Lets go of all devices but these and those of always.
    void keep(std::set<std::string> devices);
    // Puts back what somebody has taken from the devices, and takes up new ones, with a line on
    // standard error for what is missing, and for what the kernel refuses. Whether a line can be
    // used that could not because its guard was missing, or the other way round.
    bool restore();
    // At the end the programs stay attached.
    void leave();
    // The address families that a device has now.
    LineFamilies families(const std::string& device);

  private:
    struct Device {
        int index{};          // 0: it is not there
        std::string trouble;  // what was last said of it
    };
    struct Guard {
        std::string device;             // whose it is, by the name in the configuration
        std::unique_ptr<Hook> out, in;  // out brought the qdisc, so it is the last to go
        bool grouped{};                 // in kLineGroup by us
        std::string gap;                // why it is not whole; empty: it is
    };
    using Guards = std::map<int, Guard>;  // by index
    // Of a device below a line's.
    struct Below {
        std::string device;        // the line's
        std::string name;          // its own
        bool ethernet{};           // has an Ethernet header
        std::unique_ptr<Hook> in;  // null: the kernel has refused it
    };
    // nullopt when the device is not there.
    std::optional<Link> attach(const std::string& device);
    // Also nullopt where it cannot be guarded: `trouble` says why.
    std::optional<Link> try_attach(const std::string& device, std::string& trouble);
    void guard(const Link& link, const std::string& device);
    Guards::iterator detach(Guards::iterator at);
    // Detaches the guards of devices that are gone, or are no line any more.
    void let_go();
    void restore_hooks(const std::string& device, Guard& guard);
    // Attaches the guard to what is below the lines now, and puts it back.
    void restore_below();
    void look_below(const std::string& device, const Link& link, std::map<int, Below>& found);
    std::map<int, Below> find_below();
    void hook_below(int index, Below& below);
    // Whether the site's own packets come in on it.
    bool is_lan(const Link& link);
    [[nodiscard]] std::vector<SourceAddress> sources(int index, std::uint8_t family);
    // Of a device that was looked at: what is to be said of it; empty: nothing.
    [[nodiscard]] std::string trouble_of(const std::string& device) const;
    void tell_trouble(const std::string& device, const std::string& trouble);
    void tell_datapath();
    void choose_source(LinePath& path, const Tunnel& tunnel, const SourceWish& wish);

    Netlink& netlink_;
    Datapath& datapath_;
    Repairs& repairs_;
    std::set<std::string> always_;
    std::string lan_;
    std::vector<IpPrefix> prefixes_;
    std::map<std::string, Device> devices_;
    Guards guards_;
    std::map<int, Below> below_;  // by index
    bool gap_changed_ = false;
    bool leave_ = false;
};

}  // namespace dr::ur
