import Foundation
import StratoVirt

/// Runs a guest of eight instructions to its end.
@main
struct Sample {
    static func main() async throws {
        // lea rsi, [text]; mov ecx, count; mov dx, 0x3F8; rep outsb: says the text on the serial port;
        // mov dx, 0xCE9; mov al, 0x34; out dx, al; hlt: powers off as ACPI does.
        let text = Array("Linux version 0, of eight instructions\n".utf8)
        let code: [UInt8] = [
            0x48, 0x8D, 0x35, 0x13, 0, 0, 0, 0xB9, UInt8(text.count), 0, 0, 0, 0x66, 0xBA, 0xF8, 0x03, 0xF3, 0x6E,
            0x66, 0xBA, 0xE9, 0x0C, 0xB0, 0x34, 0xEE, 0xF4,
        ]
        try Data(code + text).write(to: URL(fileURLWithPath: "kernel"))
        var configuration = VirtualMachineConfiguration()
        configuration.bootLoader = LinuxBootLoader(kernel: "kernel")
        configuration.serialPort = SerialPortConfiguration(backend: .standardIO)
        let machine = try VirtualMachine(configuration) { line in print(line) }
        try await machine.start()
        let ending = await machine.ending
        print("ending: \(ending)")
        exit(ending == .guestShutdown ? 0 : 1)
    }
}
