import Testing

@testable import StratoQMP

@Suite("One client's side of QMP")
struct QMPSessionTests {
    /// A session with more requests than there may be answers that nobody reads, carried out until it is held up.
    private func heldUp() -> (session: QMPSession, machine: FakeMachine) {
        var session = QMPSession()
        let machine = FakeMachine()
        let requests = Array(String(repeating: "{\"execute\":\"query-commands\"}", count: 100).utf8)
        session.receive(requests[...])
        while session.advance(machine, .ready) {}
        return (session, machine)
    }

    private func readAll(_ session: inout QMPSession) -> Int {
        var count = 0
        session.flush { bytes in
            for index in bytes.indices where bytes[index] == 0x0A { count += 1 }
            return bytes.count
        }
        return count
    }

    @Test("A client that has read everything still waits for what was held up meanwhile, and gets it")
    func heldUpRequests() {
        var (session, machine) = heldUp()
        #expect(session.isHeldUp)
        #expect(!session.isReceptive)
        // Nothing is left to be written, and the client has nothing more to say: only this tells that there is more to do.
        var lines = readAll(&session)
        #expect(session.output.isEmpty)
        #expect(session.isHeldUp)
        for _ in 0..<100 where session.isHeldUp {
            while session.advance(machine, .ready) {}
            lines += readAll(&session)
        }
        #expect(!session.isHeldUp)
        #expect(lines == 101, "the greeting and an answer to each")
    }

    @Test("A client that says no more is answered to the end")
    func endedInput() {
        var (session, machine) = heldUp()
        session.endInput()
        var lines = 0
        while !session.isFinished, lines < 1000 {
            lines += readAll(&session)
            if session.isFinished { break }
            while session.advance(machine, .ready) {}
        }
        #expect(lines == 101)
    }
}
