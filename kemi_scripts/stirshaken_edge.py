"""A SIP edge whose routing is in Python (KEMI): calls from the inside are signed, calls from carriers are verified.

Dispatcher set 1 is the inside, set 2 the carriers. An `if` in here is about routing; what is signed, what a verdict means
and what is answered is decided in kamailio_app. Runs with cfg/kamailio-edge.cfg.
"""

import os
import sys
import traceback
from functools import wraps

import KSR

_HERE = os.path.dirname(os.path.abspath(__file__))
if _HERE not in sys.path:
    sys.path.insert(0, _HERE)

import stirshaken_paths  # noqa: E402 - finds the package and its virtualenv

INSIDE, CARRIERS = 1, 2
ANY_PORT = 3  # ds_is_from_list_mode: neither port nor protocol of the source matter
ROUND_ROBIN = 4
SANITY_CHECKS, URI_CHECKS = 17895, 7
STILL_TO_COME = 250  # octets of our Via and Record-Route, which are made when a request is sent


def mod_init():
    """Kamailio calls this once before it forks. An exception here stops the start."""
    return Edge(stirshaken_paths.handler())


def guarded(callback):
    """Kamailio drops a request whose callback raises, and 5.6 the next one too: answer 500 and go on."""

    @wraps(callback)
    def call(self, _msg, _event=None):
        try:
            callback(self)
        except Exception:  # noqa: BLE001 - nothing may reach Kamailio
            KSR.err(f"edge: {callback.__name__}: {traceback.format_exc()!a}\n")
            if callback is Edge.ksr_request_route.__wrapped__ and not KSR.is_ACK():
                KSR.sl.send_reply(500, "Server Internal Error")
        return 1

    return call


def attestation():
    """What the inside says of the caller; what is no text is not said."""
    try:
        return KSR.hdr.get("P-Attestation-Indicator") or ""
    except UnicodeDecodeError:
        return ""


class Edge:
    """The callbacks that Kamailio calls by name."""

    def __init__(self, stir):
        self.stir = stir
        stir.resume_route = "ksr_stir_resume"

    def child_init(self, rank):
        return self.stir.child_init(rank)

    def stir_publish(self, message, argument=""):
        """For cfg/sti-cr-kamailio.cfg, whose event route is a native one here, too."""
        return self.stir.stir_publish(message, argument)

    # --- Requests -----------------------------------------------------------------------------------------------

    @guarded
    def ksr_request_route(self):
        if not self.acceptable():
            return
        if KSR.is_CANCEL():
            if KSR.tm.t_check_trans() > 0:
                KSR.tm.t_relay()
            return
        if not KSR.is_ACK():
            # A retransmission is answered by its transaction
            if KSR.tmx.t_precheck_trans() > 0:
                KSR.tm.t_check_trans()
                return
            if KSR.tm.t_check_trans() == 0:
                return
        if KSR.siputils.has_totag() > 0:
            self.within_dialog()
            return
        KSR.hdr.remove("Route")
        if not KSR.is_method_in("IMO"):
            KSR.sl.sl_send_reply(405, "Method Not Allowed")
        elif KSR.dispatcher.ds_is_from_list_mode(INSIDE, ANY_PORT) > 0:
            self.outbound()
        elif KSR.dispatcher.ds_is_from_list_mode(CARRIERS, ANY_PORT) > 0:
            self.inbound()
        else:
            KSR.sl.sl_send_reply(403, "Forbidden")

    def acceptable(self):
        if KSR.maxfwd.process_maxfwd(10) < 0:
            KSR.sl.sl_send_reply(483, "Too Many Hops")
            return False
        if KSR.is_OPTIONS() and KSR.is_myself_ruri() and not KSR.pv.get("$rU"):
            KSR.sl.sl_send_reply(200, "Keepalive")
            return False
        if KSR.sanity.sanity_check(SANITY_CHECKS, URI_CHECKS) < 0:
            KSR.warn(f"edge: malformed SIP request from {KSR.pv.get('$si')}\n")
            return False
        return True

    def within_dialog(self):
        if KSR.rr.loose_route() > 0:
            self.measure()
            self.relay()
        elif KSR.is_ACK():
            if KSR.tm.t_check_trans() > 0:
                KSR.tm.t_relay()
        else:
            KSR.sl.sl_send_reply(404, "Not here")

    def outbound(self):
        """From the inside, which is trusted to say what it knows of the caller; the world is not told. What p_headers of a
        signing policy adds is not removed: that is for an edge whose next hop is inside the own network.
        """
        asked = attestation()
        KSR.hdr.remove("P-Attestation-Indicator")
        KSR.hdr.remove("P-Origination-ID")
        if KSR.is_INVITE() and self.stir.stir_sign(None, asked) < 0:
            # By a transaction, which answers the call's retransmissions: it is one call, recorded once
            KSR.tm.t_newtran()
            KSR.sl.send_reply(KSR.pv.get("$var(stir_code)"), KSR.pv.get("$var(stir_phrase)"))
            return
        self.record()
        self.dispatch(CARRIERS)

    def inbound(self):
        """From a carrier."""
        KSR.hdr.remove("P-Attestation-Indicator")
        KSR.hdr.remove("P-Origination-ID")
        self.record()
        if not KSR.is_INVITE():
            self.dispatch(INSIDE)
            return
        code = self.stir.stir_verify(None)
        if code == 2:
            self.park()
        elif code < 0:
            KSR.sl.send_reply(KSR.pv.get("$var(stir_code)"), KSR.pv.get("$var(stir_phrase)"))
        else:
            self.dispatch(INSIDE)

    def record(self):
        """In this order: what Record-Route says is not known before the request is sent, nor how long it is."""
        self.measure()
        if KSR.is_method_in("IS"):
            KSR.rr.record_route()

    def measure(self):
        limit = KSR.pv.get("$defn(EDGE_UDP_MTU)")
        if limit and KSR.pv.get("$(mbu{s.len})") + STILL_TO_COME > limit:
            KSR.pv.seti("$avp(large)", 1)

    def dispatch(self, group):
        if KSR.dispatcher.ds_select_dst(group, ROUND_ROBIN) < 0:
            KSR.sl.send_reply(503, "Service Unavailable")
        else:
            self.relay()

    def relay(self):
        while True:
            if KSR.is_INVITE():
                KSR.tm.t_on_branch("ksr_branch")
                KSR.tm.t_on_reply("ksr_reply")
            KSR.tm.t_on_failure("ksr_failover")
            if KSR.pv.get("$avp(large)") is not None:
                self.by_tcp()
            if KSR.tm.t_relay() >= 0:
                return
            if not self.next():
                break
        # By the transaction if there is one, as a parked call has: never two final responses
        KSR.sl.send_reply(500, "Server Internal Error")

    def by_tcp(self):
        """A large request, where the next hop leaves it to us; the second time it stays with UDP."""
        target = KSR.pv.get("$nh(u)")
        if target == KSR.pv.get("$avp(udp)") or ";transport=" in target:
            KSR.pv.unset("$avp(udp)")
        else:
            KSR.pv.sets("$avp(udp)", target)
            KSR.pv.sets("$du", f"{target};transport={KSR.pv.get('$def(EDGE_MTU_TRANSPORT)')}")

    def next(self):
        """Where a request goes that nobody took: by UDP if it went otherwise for its size, else to the next destination."""
        target = KSR.pv.get("$avp(udp)")
        if target is None:
            return KSR.dispatcher.ds_next_dst() > 0
        KSR.pv.sets("$du", target)
        return True

    @guarded
    def ksr_branch(self):
        # A parked call gets its verstat per branch: what it was given on resuming would miss the next branch
        verstat = KSR.pv.get("$avp(stir_verstat)")
        if verstat is not None:
            self.stir.stir_tag(None, verstat)

    @guarded
    def ksr_reply(self):
        """Where verstat went into From, the caller gets back the From that it sent (RFC 3261 8.2.6.2); and it is told what was
        wrong with its Identity headers, but not what somebody says of ours (RFC 9410).
        """
        if KSR.hdr.is_present("Reason") > 0:
            self.stir.stir_reply(None)
        sent, reason = KSR.pv.get("$avp(stir_from)"), KSR.pv.get("$avp(stir_reason)")
        if sent is not None:
            KSR.pv.sets("$fu", sent)
        if reason is not None and KSR.pv.get("$rs") != 100:
            KSR.hdr.append(reason)

    @guarded
    def ksr_failover(self):
        """A destination that is silent or out of order: the next one."""
        if KSR.tm.t_is_canceled() > 0 or KSR.tm.t_check_status("(408)|(5[0-9][0-9])") < 0:
            return
        if KSR.tm.t_branch_timeout() < 0 or KSR.tm.t_branch_replied() > 0:
            KSR.pv.unset("$avp(udp)")  # somebody is there
        if self.next():
            self.relay()

    # --- Parked calls: the signer's certificate has to be fetched first -------------------------------------------

    def park(self):
        """Suspend first, park then: the fetch may be over before stir_park returns."""
        KSR.pv.sets("$avp(stir_parked)", KSR.pv.get("$var(stir_x5u)"))
        if KSR.tm.t_newtran() < 0:
            KSR.sl.sl_reply_error()
            return
        KSR.tm.t_on_failure("ksr_stir_timeout")
        KSR.tm.t_set_fr(0, KSR.pv.get("$var(stir_wait)"))
        if KSR.tmx.t_suspend() < 0:
            self.resumed()
        elif self.stir.stir_park(None, self.transaction()) < 0:
            KSR.tmx.t_continue(KSR.pv.get("$T(id_index)"), KSR.pv.get("$T(id_label)"), "ksr_stir_resumed")

    def transaction(self):
        return f"{KSR.pv.get('$T(id_index)')}:{KSR.pv.get('$T(id_label)')}"

    @guarded
    def ksr_stir_keep(self):
        """In the process that rtimer runs; no call is attached."""
        self.stir.stir_keep(None)

    @guarded
    def ksr_stir_resume(self):
        """In a process of the group "stirshaken": a certificate has come; no call is attached."""
        self.stir.stir_fetched(None, getattr(KSR, "async").get_data())
        while self.stir.stir_next(None) > 0:
            KSR.tmx.t_continue(KSR.pv.get("$var(stir_index)"), KSR.pv.get("$var(stir_label)"), "ksr_stir_resumed")

    @guarded
    def ksr_stir_resumed(self):
        """The parked call again, in that process."""
        self.resumed()

    @guarded
    def ksr_stir_timeout(self):
        """The certificate did not come in time. Unpark, or a late resume would leak the transaction."""
        self.stir.stir_unpark(None, self.transaction())
        if KSR.tm.t_is_canceled() <= 0:
            self.resumed()

    def resumed(self):
        KSR.tm.t_reset_fr()
        code = self.stir.stir_resume(None)
        KSR.pv.sets("$avp(stir_verstat)", KSR.pv.get("$var(stir_verstat)"))
        if code < 0:
            KSR.tm.t_reply(KSR.pv.get("$var(stir_code)"), KSR.pv.get("$var(stir_phrase)"))
        else:
            self.dispatch(INSIDE)
