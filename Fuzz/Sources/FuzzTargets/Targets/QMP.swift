internal import StratoVMM

@testable internal import StratoQMP

extension FuzzTarget {
    /// What a QMP client sends, in pieces of any size: each answer is a line of JSON, and how the bytes were cut changes none.
    ///
    ///     the machine's readiness (1 byte), the size of the pieces (1 byte), then what the client sends
    static let qmp = FuzzTarget("qmp", seeds: qmpSeeds) { input in
        let readiness: QMPSession.Readiness =
            switch input.byte() & 3 {
            case 0: .preparing
            case 1: .failed
            default: .ready
            }
        let pieceSize = Int(input.byte()) + 1
        let bytes = input.rest()
        let answers = converse(bytes, pieceSize: pieceSize, readiness)
        expect(answers.suffix(2) == [0x0D, 0x0A], "the last line ends")
        for line in answers.split(separator: 0x0A) {
            expect(line.last == 0x0D, "a line ends with CR LF")
            _ = always("an answer is JSON") { try JSONParser.parse(Array(line.dropLast()), duplicateNames: .refused) }
        }
        expect(converse(bytes, pieceSize: max(bytes.count, 1), readiness) == answers, "how bytes are cut changes no answer")
    }

    private static func converse(_ bytes: [UInt8], pieceSize: Int, _ readiness: QMPSession.Readiness) -> [UInt8] {
        let machine = FuzzMachine()
        var session = QMPSession()
        var answers: [UInt8] = []
        var rest = bytes[...]
        func settle(_ readiness: QMPSession.Readiness) {
            var hasMoved = true
            while hasMoved {
                hasMoved = session.advance(machine, readiness)
                session.flush { bytes in
                    for index in bytes.indices { answers.append(bytes[index]) }
                    return bytes.count
                }
            }
        }
        while !rest.isEmpty, session.isReceptive {
            session.receive(rest.prefix(pieceSize))
            rest = rest.dropFirst(pieceSize)
            settle(readiness)
        }
        session.endInput()
        settle(readiness == .preparing ? .ready : readiness)
        expect(session.isFinished, "a client that has ended and read everything is done with")
        return answers
    }

    @Sendable private static func qmpSeeds() -> [(name: String, bytes: [UInt8])] {
        let negotiate = #"{"execute":"qmp_capabilities"}"#
        let commands = QMPCommand.all.map(\.name)
        let lines =
            commands.map { ($0, #"{"execute":"\#($0)","id":1}"#) } + [
                ("qom-get", #"{"execute":"qom-get","arguments":{"path":"/machine","property":"type"}}"#),
                ("qom-list", #"{"execute":"qom-list","arguments":{"path":"/machine/peripheral"}}"#),
                ("human", #"{"execute":"human-monitor-command","arguments":{"command-line":"info registers"}}"#),
                ("device-del", #"{"execute":"device_del","arguments":{"id":"x"}}"#),
                ("oob", #"{"exec-oob":"stop"}"#),
            ]
        return lines.map { ("ready-\($0)", [2, 255] + Array((negotiate + "\r\n" + $1 + "\r\n").utf8)) }
            + [
                ("preparing", [0, 3] + Array((negotiate + #"{"execute":"query-status"}{"execute":"quit"}"#).utf8)),
                ("failed", [1, 255] + Array((negotiate + #"{"execute":"query-status"}"#).utf8)),
                ("broken", [2, 0] + Array(("{]\n" + negotiate + "\u{7F}\"\\").utf8) + [0xFF, 0x7B, 0x7D]),
            ]
    }
}

/// A machine that agrees to everything.
private final class FuzzMachine: MachineControl {
    let configuration = VirtualMachineConfiguration()
    let status = MachineStatus.running
    func observe(_ observer: @escaping @Sendable (MachineEvent) -> Void) {}
    func pause() throws(MachineControlError) {}
    func resume() throws(MachineControlError) {}
    func reset() throws(MachineControlError) { throw MachineControlError("no reset") }
    func requestPowerDown() throws(MachineControlError) {}
    func shutDown(_ reason: ShutdownReason) {}
    func registerSummaries() throws(MachineControlError) -> [String] { ["rip=fff0"] }
    let processors = [ProcessorInfo(index: 0, socket: 0, die: 0, cluster: 0, core: 0, thread: 0, threadID: 7)]
    let blockDevices = [BlockDeviceInfo(id: "rootfs", virtualSize: 1 << 20)]
    let pciFunctions: [PCIFunctionInfo] = []
    let characterDevices = [CharacterDeviceInfo(label: "serial0", filename: "stdio", isFrontendOpen: true)]
    let ioThreads = [IOThreadInfo(id: "io", threadID: 8)]
}
