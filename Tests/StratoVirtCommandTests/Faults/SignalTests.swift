import Foundation
import Glibc
import Testing

/// The executable with a guest that is idle, hit by signals at moments that chance chooses.
@Suite("Signals at any moment", .enabled(if: BuiltExecutable.canRunGuests, BuiltExecutable.needsGuests), .serialized)
struct SignalTests {
    private static let runs = BuiltExecutable.isComplete ? 200 : 24
    /// Another moment for each run, and the same ones in every run of the tests.
    private static let seed: UInt64 = 20_240_229

    /// How many microseconds it takes until the guest runs, here and now.
    private func startTime(_ place: MonitorPlace) throws -> UInt64 {
        let start = ContinuousClock.now
        let process = try place.start(terminal: .pseudoTerminal)
        try #require(process.output.find(guestGreeting, within: Patience.monitor), "\(process.errors.text)")
        let duration = start.duration(to: .now)
        process.send(signal: SIGTERM)
        #expect(process.waitForEnd(within: Patience.monitor) == .exited(0))
        return UInt64(duration / .microseconds(1))
    }

    @Test("SIGTERM, SIGINT and SIGHUP end the machine with status 0, and nothing of it is left, whenever they come")
    func termination() throws {
        let place = try MonitorPlace(kernel: IdleKernel.bytes)
        place.arguments = place.machine()
        let limit = try startTime(place) * 2
        var random = SeededGenerator(seed: SignalTests.seed)
        var beforeAnything = 0
        var beforeGuest = 0
        for run in 0..<SignalTests.runs {
            let number = [SIGTERM, SIGINT, SIGHUP][Int.random(in: 0..<3, using: &random)]
            let delay = UInt32(UInt64.random(in: 0...limit, using: &random))
            let process = try place.start(terminal: .pseudoTerminal)
            usleep(delay)
            process.send(signal: number)
            let moment: Comment = "run \(run) of seed \(SignalTests.seed): signal \(number) after \(delay) µs"
            let end = try #require(process.waitForEnd(within: Patience.monitor), moment)
            if end == .signalled(number) {
                // Before it has blocked them: by then it has made nothing.
                beforeAnything += 1
            } else {
                #expect(end == .exited(0), moment)
                if !process.output.text.contains(guestGreeting) { beforeGuest += 1 }
            }
            #expect(process.errors.text == "", moment)
            #expect(place.leftovers == [], moment)
            #expect(MonitorPlace.isTerminalInOrder(of: process), moment)
        }
        print("\(SignalTests.runs) signals: \(beforeAnything) before anything was made, \(beforeGuest) before the guest ran")
        // The moments are spread over the start and beyond.
        #expect(beforeAnything < SignalTests.runs)
    }

    @Test("After SIGKILL the same command line starts again, whenever it comes")
    func kill() throws {
        let place = try MonitorPlace(kernel: IdleKernel.bytes)
        place.arguments = place.machine()
        let limit = try startTime(place) * 2
        var random = SeededGenerator(seed: SignalTests.seed + 1)
        for run in 0..<(SignalTests.runs / 2) {
            let delay = UInt32(UInt64.random(in: 0...limit, using: &random))
            let process = try place.start()
            usleep(delay)
            process.send(signal: SIGKILL)
            let moment: Comment = "run \(run) of seed \(SignalTests.seed + 1): killed after \(delay) µs"
            #expect(process.waitForEnd(within: Patience.monitor) == .signalled(SIGKILL), moment)
            let next = try place.start()
            #expect(next.output.find(guestGreeting, within: Patience.monitor), "\(moment): \(next.errors.text)")
            next.send(signal: SIGTERM)
            #expect(next.waitForEnd(within: Patience.monitor) == .exited(0), moment)
            #expect(next.errors.text.isEmpty, "\(moment): \(next.errors.text)")
            #expect(place.leftovers == [], moment)
        }
    }

    @Test("A daemon takes its pid file and sockets away at SIGTERM, and after SIGKILL the same command line starts again")
    func daemon() throws {
        let place = try MonitorPlace(kernel: IdleKernel.bytes)
        place.arguments = place.machine(serial: "null") + ["-daemonize", "-pidfile", place.pidFile]
        var random = SeededGenerator(seed: SignalTests.seed + 2)
        var limit: UInt64 = 0
        var killed: pid_t?
        for run in 0..<(SignalTests.runs / 2) {
            let number = run > 0 && Bool.random(using: &random) ? SIGKILL : SIGTERM
            let delay = UInt32(UInt64.random(in: 0...limit, using: &random))
            let moment: Comment = "run \(run) of seed \(SignalTests.seed + 2): signal \(number) \(delay) µs after the pid file"
            let start = ContinuousClock.now
            let process = try place.start()
            let daemon = try #require(place.daemon(otherThan: killed), "\(moment): \(process.errors.text)")
            if run == 0 {
                #expect(process.waitForEnd(within: Patience.monitor) == .exited(0), moment)
                limit = UInt64(start.duration(to: .now) / .microseconds(1))
            }
            usleep(delay)
            Glibc.kill(daemon, number)
            #expect(MonitorPlace.waitForEnd(of: daemon), moment)
            let end = process.waitForEnd(within: Patience.monitor)
            if end == .exited(1), number == SIGTERM {
                #expect(process.errors.text == "stratovirt: -daemonize: the machine was ended before it had started\n", moment)
            } else {
                #expect(end == .exited(0) || end == .exited(1), moment)
                #expect(process.errors.text.isEmpty, "\(moment): \(process.errors.text)")
            }
            killed = number == SIGKILL ? daemon : nil
            // After SIGKILL it is for the next one to find what is left.
            if number == SIGTERM { #expect(place.leftovers == [], moment) }
        }
        let last = try place.start()
        #expect(last.waitForEnd(within: Patience.monitor) == .exited(0), "\(last.errors.text)")
        let daemon = try #require(place.daemon(otherThan: killed))
        // One that runs keeps its pid file, and its image, to itself.
        let second = try place.start()
        #expect(second.waitForEnd(within: Patience.monitor) == .exited(1))
        #expect(second.errors.text.hasPrefix("stratovirt: -pidfile: '\(place.pidFile)' is in use by a machine that runs"))
        #expect(second.errors.text.split(separator: "\n").count == 1, "\(second.errors.text)")
        Glibc.kill(daemon, SIGTERM)
        #expect(MonitorPlace.waitForEnd(of: daemon))
        #expect(place.leftovers == [])
    }

    @Test("Signals that mean nothing here, and a stop with its continuation, leave the machine running")
    func harmless() throws {
        let place = try MonitorPlace(kernel: IdleKernel.bytes)
        place.arguments = place.machine()
        let process = try place.start(terminal: .pseudoTerminal)
        #expect(process.output.find(guestGreeting, within: Patience.monitor), "\(process.errors.text)")
        let monitor = try QMPConnection(path: place.socket) { process.isRunning }
        try monitor.negotiate()
        for number in [
            SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGPIPE, SIGCHLD, SIGWINCH, SIGURG, SIGIO, SIGPWR, SIGSTKFLT, SIGXFSZ,
            SIGCONT,
        ] + Array(34...64) {
            process.send(signal: number)
            #expect(try monitor.status() == "running", "signal \(number): \(process.errors.text)")
        }
        for _ in 0..<3 {
            process.send(signal: SIGSTOP)
            usleep(20_000)
            process.send(signal: SIGCONT)
            #expect(try monitor.status() == "running")
        }
        #expect(process.errors.text.isEmpty, "\(process.errors.text)")
        process.send(signal: SIGTERM)
        #expect(process.waitForEnd(within: Patience.monitor) == .exited(0))
        #expect(try monitor.waitForEvent("SHUTDOWN").reason == "host-signal")
        #expect(MonitorPlace.isTerminalInOrder(of: process))
        #expect(place.leftovers == [])
    }
}
