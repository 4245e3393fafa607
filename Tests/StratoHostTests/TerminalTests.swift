import CStratoLinux
import Foundation
import Testing

@testable import StratoHost

/// A pseudo terminal whose slave stands for a person's terminal.
final class TestTerminal: @unchecked Sendable {
    let master: Int32
    let slave: Int32

    init() throws {
        var master: Int32 = -1
        var slave: Int32 = -1
        try #require(openpty(&master, &slave, nil, nil, nil) == 0)
        for number in [master, slave] { _ = fcntl(number, F_SETFD, FD_CLOEXEC) }
        self.master = master
        self.slave = slave
    }

    deinit {
        close(master)
        close(slave)
    }

    var settings: termios {
        var settings = termios()
        tcgetattr(slave, &settings)
        return settings
    }
}

extension termios {
    fileprivate var flags: [tcflag_t] { [c_iflag, c_oflag, c_cflag, c_lflag] }
}

@Suite struct TerminalTests {
    @Test("Raw mode passes every key without echo and signals, keeps the processing of output, and is undone by restore")
    func rawMode() throws {
        let pair = try TestTerminal()
        let before = pair.settings
        let terminal = try #require(Terminal(descriptor: pair.slave))
        try terminal.makeRaw()
        let raw = pair.settings
        #expect(raw.c_lflag & tcflag_t(ECHO | ICANON | ISIG | IEXTEN) == 0)
        #expect(raw.c_iflag & tcflag_t(ICRNL | IXON) == 0)
        #expect(raw.c_oflag & tcflag_t(OPOST | ONLCR) == before.c_oflag & tcflag_t(OPOST | ONLCR))
        try terminal.makeRaw()
        terminal.restore()
        #expect(pair.settings.flags == before.flags)
        terminal.restore()
        #expect(pair.settings.flags == before.flags)
    }

    @Test("Restoring takes back what somebody else changed since")
    func restoreOthersChanges() throws {
        let pair = try TestTerminal()
        let before = pair.settings
        let terminal = try #require(Terminal(descriptor: pair.slave))
        var other = before
        cfmakeraw(&other)
        tcsetattr(pair.slave, TCSANOW, &other)
        terminal.restore()
        #expect(pair.settings.flags == before.flags)
    }

    @Test("What is not a terminal is told from one")
    func notTerminals() throws {
        let pipe = TestPipe()
        #expect(Terminal(descriptor: pipe.reader) == nil)
        #expect(Terminal(descriptor: -1) == nil)
        let null = open("/dev/null", O_RDWR | O_CLOEXEC)
        defer { close(null) }
        #expect(Terminal(descriptor: null) == nil)
    }

    @Test("A terminal that is gone can still be restored: nothing happens")
    func goneTerminal() throws {
        var pair: TestTerminal? = try TestTerminal()
        let number = dup(try #require(pair).slave)
        defer { close(number) }
        let terminal = try #require(Terminal(descriptor: number))
        try terminal.makeRaw()
        pair = nil
        terminal.restore()
    }
}
