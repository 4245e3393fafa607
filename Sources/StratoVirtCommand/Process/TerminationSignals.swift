internal import CStratoLinux
internal import Glibc
internal import StratoHost

/// SIGTERM, SIGINT, SIGHUP and SIGXCPU as events of a loop instead of interruptions.
///
/// They stay blocked in every thread, as does every other signal that nobody here waits for and that would end the process:
/// SIGPIPE and SIGXFSZ, which a write tells by its result, and those that have no meaning here, such as SIGUSR1.
final class TerminationSignals: Sendable {
    private let descriptor: OwnedDescriptor

    /// To be made before there is a second thread, which inherits what is blocked.
    init() throws(LinuxError) {
        descriptor = OwnedDescriptor(owning: try LinuxError.check(csl_termination_descriptor(), "wait for signals"))
    }

    /// Calls `handler` on the loop's thread with the name of each signal that arrives, also of one that came before.
    func watch(on loop: EventLoop, _ handler: @escaping @Sendable (String) -> Void) throws(LinuxError) {
        _ = try loop.register(descriptor.number, for: .readable) { [self] _ in
            let number = csl_next_signal(descriptor.number)
            guard number > 0 else { return }
            handler(TerminationSignals.name(of: number))
        }
    }

    private static func name(of number: Int32) -> String {
        switch number {
        case SIGTERM: "SIGTERM"
        case SIGINT: "SIGINT"
        case SIGHUP: "SIGHUP"
        case SIGXCPU: "SIGXCPU"
        default: "signal \(number)"
        }
    }
}
