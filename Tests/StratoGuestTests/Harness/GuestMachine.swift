import Foundation
import Glibc
import Testing

/// A running monitor and its guest.
final class GuestMachine {
    let process: ChildProcess
    let directory: ScratchDirectory
    let qmpSocket: String
    private let startTime = Date()

    /// Runs `body` with a guest; afterwards the monitor has ended, one way or another.
    ///
    /// Whatever goes wrong inside is told together with the command line and the last lines of the guest and the monitor.
    static func run(_ setup: GuestSetup, in directory: ScratchDirectory, _ body: (GuestMachine) throws -> Void) throws {
        for path in [setup.kernel?.path, setup.ramdisk?.path, setup.firmware?.code].compactMap({ $0 })
        where !FileManager.default.fileExists(atPath: path) {
            throw GuestFailure("\(path) is not there: run `Guest/build-all`")
        }
        let socket = directory.file("qmp.sock")
        try run(setup.arguments(qmpSocket: socket), terminal: setup.terminal, qmpSocket: socket, in: directory, body)
    }

    /// As above, with the executable's arguments as they are given.
    static func run(
        _ arguments: [String], terminal: ChildProcess.Terminal = .pipes, qmpSocket: String, in directory: ScratchDirectory,
        _ body: (GuestMachine) throws -> Void
    ) throws {
        let binary = try GuestEnvironment.requireExecutable()
        let machine = GuestMachine(
            process: try ChildProcess(binary, arguments, terminal: terminal), directory: directory, qmpSocket: qmpSocket)
        defer { machine.kill() }
        do {
            try body(machine)
        } catch {
            throw machine.failure("\(error)")
        }
        machine.checkProcess()
    }

    private init(process: ChildProcess, directory: ScratchDirectory, qmpSocket: String) {
        self.process = process
        self.directory = directory
        self.qmpSocket = qmpSocket
    }

    // MARK: Guest

    var serial: Transcript { process.output }

    /// Waits for a text of the guest behind the one that was found last.
    ///
    /// - Throws: `GuestFailure` if it does not come.
    func waitFor(_ text: String, within seconds: TimeInterval = Patience.guest) throws {
        guard serial.find(text, within: seconds) else {
            let reason = process.ended.map { "the monitor ended with \($0)" } ?? "not within \(Int(seconds)) s"
            throw GuestFailure("the guest did not say \"\(text)\": \(reason)")
        }
    }

    /// Types a text and Return on the serial port.
    func type(_ line: String) throws { try process.write(line + "\n") }

    /// Waits for the prompt of the document's init.
    func waitForShell() throws { try waitFor("# ") }

    /// Waits for a guest whose checks end the machine.
    ///
    /// - Returns: what the guest reported.
    /// - Throws: `GuestFailure` if the machine ends in any other way than with status 0 and all checks passed.
    func finishChecks(within seconds: TimeInterval = Patience.guest) throws -> GuestCheckReport {
        try waitForEnd(within: seconds)
        let report = GuestCheckReport(serial.text)
        guard report.hasPassed else {
            throw GuestFailure("checks failed in the guest: \(report.failures.isEmpty ? ["not finished"] : report.failures)")
        }
        return report
    }

    // MARK: Monitor

    /// Waits for the monitor's end.
    ///
    /// - Throws: `GuestFailure` if it does not end in time, or not as expected.
    func waitForEnd(
        _ expected: ChildProcess.End = .exited(0), within seconds: TimeInterval = Patience.monitor
    ) throws {
        guard let end = process.waitForEnd(within: seconds) else {
            throw GuestFailure("the monitor did not end within \(Int(seconds)) s")
        }
        guard end == expected else { throw GuestFailure("the monitor ended with \(end), not \(expected)") }
    }

    /// A QMP client that has negotiated.
    func connectQMP() throws -> QMPConnection {
        let connection = try QMPConnection(path: qmpSocket) { process.isRunning }
        try connection.negotiate()
        return connection
    }

    /// Ends the monitor as a power failure would.
    func kill() {
        process.send(signal: SIGKILL)
        _ = process.waitForEnd(within: Patience.monitor)
    }

    /// No monitor may trap, whatever its test looks at.
    private func checkProcess() {
        let errors = process.errors.text
        #expect(!errors.contains("Fatal error"), "the monitor trapped: \(process.errors.tail())")
        if case .signalled(let number) = process.ended {
            #expect(number == SIGKILL, "the monitor was ended by signal \(number): \(process.errors.tail())")
        }
    }

    private func failure(_ reason: String) -> GuestFailure {
        let state = process.ended.map { "ended with \($0)" } ?? "runs"
        let log = process.errors.tail()
        return GuestFailure(
            """
            \(reason)
              after \(Int(Date().timeIntervalSince(startTime))) s; the monitor \(state)
              command: \(process.commandLine)
            ---- last lines of the serial port
            \(serial.tail())
            ---- last lines of standard error
            \(log.isEmpty ? "(none)" : log)
            ----
            """)
    }
}
