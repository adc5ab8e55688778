// Loads or creates drd's CA, and issues certificates.
#include "control/signalling/credentials.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/printable.h"
#include "control/model/check.h"
#include "control/model/secrets.h"

namespace dr::control {
namespace {

// "dr1.example.net:4755" -> "dr1.example.net"; "[2001:db8::1]:4755" -> "2001:db8::1".
std::string host_of(const std::string& address) {
    std::string host = address.substr(0, address.rfind(':'));
    if (host.size() > 2 && host.front() == '[' && host.back() == ']')
        host = host.substr(1, host.size() - 2);
    return host;
}

bool wildcard(const std::string& host) {
    return host.empty() || host == "0.0.0.0" || host == "::" || host == "*";
}

std::string bytes_of(const pki::Fingerprint& fingerprint) {
    return {reinterpret_cast<const char*>(fingerprint.data()), fingerprint.size()};
}

// A subscriber that is enrolled again and again without attaching keeps only the latest
// certificates.
void drop_unused(store::Secrets& secrets) {
    constexpr int kMostUnused = 8;
    auto& certificates = *secrets.mutable_certificates();
    const auto unused = [](const auto& c) { return c.replaces_older(); };
    while (std::count_if(certificates.begin(), certificates.end(), unused) >= kMostUnused)
        certificates.erase(std::find_if(certificates.begin(), certificates.end(), unused));
}

// Takes away the first `count`.
void drop_first(store::Secrets& secrets, int count) {
    secrets.mutable_certificates()->DeleteSubrange(0, count);
    secrets.set_enrolled_only(true);
}

}  // namespace

Credentials::Credentials(const Options& options)
    : folder_(std::filesystem::absolute(options.store).parent_path().string()),
      signalling_(!options.signalling.empty()),
      ca_cert_(options.ca_cert),
      ca_key_(options.ca_key) {
    std::vector<std::string> own = options.signalling_names;
    if (own.empty() && !options.signalling.empty() && !wildcard(host_of(options.signalling)))
        own.push_back(options.signalling);
    if (own.empty() && !options.signalling.empty())
        throw StartError(fmt::format(
            "--signalling {}: URs cannot be told to connect to every address; say where with "
            "--signalling-name NAME:PORT",
            options.signalling));
    for (const auto& address : own) names_.push_back(host_of(address));
    own.insert(own.end(), options.signalling_peers.begin(), options.signalling_peers.end());
    for (const auto& address : own) {
        auto& dr = drs_.emplace_back();
        dr.set_name(host_of(address));
        dr.add_addresses(address);
    }
    own.push_back(options.signalling);
    for (const auto& address : own)
        if (const auto literal = parse_address(host_of(address));
            literal && !wildcard(host_of(address)))
            reserved_.emplace_back(*literal, "an address of signalling");
    // Each address is listed once, however often it was given.
    std::sort(reserved_.begin(), reserved_.end());
    reserved_.erase(std::unique(reserved_.begin(), reserved_.end()), reserved_.end());
    try {
        // Only root may be able to read an operator's key, and drd is root only at its start.
        if (!ca_cert_.empty()) authority_ = pki::Authority::load(ca_cert_, ca_key_);
        if (!options.signalling_cert.empty()) {
            given_.emplace();
            given_->certificate = pki::read_file(options.signalling_cert);
            given_->private_key = pki::read_file(options.signalling_key);
            check_given(options);
        }
        if (!options.signalling_ca.empty()) {
            others_pem_ = pki::read_file(options.signalling_ca);
            others_ = pki::parse_certificates(others_pem_);
            if (others_.empty())
                throw pki::PkiError(options.signalling_ca + ": no certificate in PEM");
        }
    } catch (const pki::PkiError& e) {
        throw StartError(e.what());
    }
}

// Reports at the start what would let no UR attach.
void Credentials::check_given(const Options& options) const {
    const std::string why = pki::check_pair(given_->certificate, given_->private_key);
    if (!why.empty())
        throw StartError(fmt::format("--signalling-cert {}: {}", options.signalling_cert, why));
    const auto leaf = pki::parse_certificates(given_->certificate).front();
    for (const auto& name : names_)
        if (!leaf.names(name))
            throw StartError(
                fmt::format("--signalling-cert {}: it does not carry the name {}, which URs are "
                            "told by --signalling-name or --signalling",
                            options.signalling_cert, name));
}

// A UR's certificate must not be an operator's. Certificates between the CAs may be unknown here;
// the API looks at what each client shows (api/operators.h).
void Credentials::keep_apart(const Options& options) {
    const auto refuse = [&] {
        throw StartError(
            fmt::format("--tls-ca {}: this CA signs or vouches for URs too, so each of them could "
                        "use the operator's API; give operators certificates of another CA",
                        options.tls_ca));
    };
    const auto clients = pki::parse_certificates(pki::read_file(options.tls_ca));
    // Of any DR: a CA that drd has made for itself signs only URs and DRs.
    for (const auto& client : clients)
        if (client.common_name() == pki::Authority::kName) refuse();
    const bool made = signalling_ || !ca_cert_.empty() || pki::Authority::exists(folder_);
    of_sites_ = pki::parse_certificates(made ? anchors() : others_pem_);
    std::vector<pki::Certificate> known = of_sites_;
    for (const auto& file :
         {options.tls_ca, options.tls_cert, options.signalling_cert, options.ca_cert}) {
        if (file.empty()) continue;
        const auto more = pki::parse_certificates(pki::read_file(file));
        known.insert(known.end(), more.begin(), more.end());
    }
    for (const auto& own : of_sites_)
        if (pki::ancestry(own, known, clients, {}) == pki::Ancestry::Clean) refuse();
}

const pki::Authority& Credentials::authority() {
    const std::lock_guard lock(mutex_);
    if (!authority_)
        authority_ = ca_cert_.empty() ? pki::Authority::open(folder_)
                                      : pki::Authority::load(ca_cert_, ca_key_);
    return *authority_;
}

pki::Issued Credentials::server() {
    return given_ ? *given_ : authority().issue_server(names_);
}

std::string Credentials::anchors() {
    return authority().anchors() + others_pem_;
}

Failure Credentials::enroll(Catalog& catalog, const std::string& subscriber, bool keep_older,
                            v1::Credentials& out, std::uint32_t& older) {
    if (drs_.empty())
        return {Code::FailedPrecondition,
                "this drd has no signalling for URs to attach to; start it with --signalling "
                "HOST:PORT",
                {},
                false};
    // A key is made only for a valid name.
    if (!is_name(subscriber))
        return {Code::NotFound,
                fmt::format("subscriber/{} does not exist", shown(subscriber)),
                {},
                false};
    try {
        const pki::Issued issued = authority().issue_client(subscriber);
        Failure why = catalog.change_credentials(subscriber, [&](store::Secrets& secrets) {
            drop_unused(secrets);
            older = static_cast<std::uint32_t>(secrets.certificates_size());
            auto& fresh = *secrets.add_certificates();
            fresh.set_fingerprint(bytes_of(issued.fingerprint));
            fresh.set_issued_us(wall_clock_us());
            fresh.set_replaces_older(!keep_older);
        });
        if (!why.ok()) return why;
        out.set_subscriber(subscriber);
        for (const auto& dr : drs_) *out.add_drs() = dr;
        out.set_ca(anchors());
        out.set_certificate(issued.certificate);
        out.set_private_key(issued.private_key);
    } catch (const pki::PkiError& e) {
        return {Code::Unavailable, e.what(), {}, false};
    }
    return {};
}

Failure Credentials::used(Catalog& catalog, const std::string& subscriber,
                          const std::string& fingerprint) {
    return catalog.change_credentials(subscriber, [&](store::Secrets& secrets) {
        for (int i = 0; i < secrets.certificates_size(); ++i) {
            auto& certificate = *secrets.mutable_certificates(i);
            if (certificate.fingerprint() != fingerprint || !certificate.replaces_older()) continue;
            certificate.set_replaces_older(false);
            return drop_first(secrets, i);
        }
    });
}

Failure Credentials::revoke_older(Catalog& catalog, const std::string& subscriber,
                                  std::uint32_t& count) {
    return catalog.change_credentials(subscriber, [&](store::Secrets& secrets) {
        const int last = secrets.certificates_size() - 1;
        if (last < 0) return;
        count = static_cast<std::uint32_t>(last);
        secrets.mutable_certificates(last)->set_replaces_older(false);
        drop_first(secrets, last);
    });
}

Failure Credentials::revoke(Catalog& catalog, const std::string& subscriber, std::uint32_t& count) {
    try {
        const auto site = catalog.site(subscriber);
        if (site) count = static_cast<std::uint32_t>(site->secrets.certificates_size());
        return catalog.revoke(subscriber).failure;
    } catch (const StoreError& e) {
        return {Code::Unavailable, e.what(), {}, false};
    }
}

}  // namespace dr::control
