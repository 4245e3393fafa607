import Foundation
import Glibc
import Testing

/// Memory that is not there, for the executable from its command line on.
@Suite("Memory limits", .enabled(if: BuiltExecutable.canRunGuests, BuiltExecutable.needsGuests), .serialized)
struct MemoryLimitTests {
    /// No machine that tests run on has so much.
    private static let tooMuch = "512g"

    private func expectRefusal(_ process: ChildProcess, _ words: String..., in place: MonitorPlace) {
        #expect(process.waitForEnd(within: Patience.monitor) == .exited(1))
        let lines = process.errors.text.split(separator: "\n")
        #expect(lines.count == 1, "\(process.errors.text)")
        #expect(lines.first?.hasPrefix("stratovirt: ") == true)
        for word in words { #expect(process.errors.text.contains(word), "\(process.errors.text)") }
        #expect(place.leftovers == [])
    }

    @Test("More than the host has is refused with -mem-prealloc in one line, before anything is taken")
    func host() throws {
        let place = try MonitorPlace(kernel: IdleKernel.bytes)
        place.arguments = place.machine(memory: MemoryLimitTests.tooMuch) + ["-mem-prealloc"]
        let process = try place.start()
        expectRefusal(process, "-mem-prealloc", "MiB", in: place)
    }

    @Test(
        "More than a control group allows is refused with -mem-prealloc in one line that names the group",
        .enabled(if: ControlGroup.obstacle == nil, Comment(rawValue: ControlGroup.obstacle ?? "")),
        arguments: ["microvm", "microvm,mem-share=on"])
    func controlGroup(machine: String) throws {
        let group = try ControlGroup(mebibytes: 64)
        let place = try MonitorPlace(kernel: IdleKernel.bytes)
        place.arguments = place.machine() + ["-mem-prealloc"]
        place.arguments = place.arguments.map { $0 == "microvm" ? machine : $0 }
        let process = try place.start(behind: group.enter)
        expectRefusal(process, "-mem-prealloc", "MiB", in: place)
        // Without that the machine starts: the guest may never need it all.
        place.arguments.removeAll { $0 == "-mem-prealloc" }
        let next = try place.start(behind: group.enter)
        #expect(next.output.find(guestGreeting, within: Patience.monitor), "\(next.errors.text)")
        next.send(signal: SIGTERM)
        #expect(next.waitForEnd(within: Patience.monitor) == .exited(0))
    }

    @Test(
        "With room for it, memory that is preallocated within a control group is all there",
        .enabled(if: ControlGroup.obstacle == nil, Comment(rawValue: ControlGroup.obstacle ?? "")))
    func roomEnough() throws {
        let group = try ControlGroup(mebibytes: 192)
        let place = try MonitorPlace(kernel: IdleKernel.bytes)
        place.arguments = place.machine() + ["-mem-prealloc"]
        let process = try place.start(behind: group.enter)
        #expect(process.output.find(guestGreeting, within: Patience.monitor), "\(process.errors.text)")
        process.send(signal: SIGTERM)
        #expect(process.waitForEnd(within: Patience.monitor) == .exited(0))
    }
}
