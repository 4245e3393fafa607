/// What `-help`, `-version` and `-OPTION help` print, made from the tables that the parser reads.
enum HelpText {
    /// Columns of a terminal.
    private static let width = 80
    private static let column = 30

    /// Clients read the version of StratoVirt that the command line and QMP follow from the first two words.
    static let version = "StratoVirt 2.5.0 (swift-stratovirt 0.1.0)\n"

    static var all: String {
        var text = version
        text += "usage: stratovirt [OPTION [VALUE]]...\n\n"
        text += "Options take one dash or two. Properties are separated by commas; ',,' is a\n"
        text += "comma of a value. '-OPTION help' lists the properties of an option, and\n"
        text += "'-OPTION KIND,help' those of a kind. (In brackets: what holds unless given.)\n"
        for group in OptionGroup.allCases {
            text += "\n\(group.rawValue)\n"
            let options = OptionTable.options.filter { $0.group == group }
            if group == .ignored {
                text += wrapped(options.map(\.label), indent: 2, first: "  ")
            } else {
                for option in options { text += entry(form(of: option), option.help) }
            }
        }
        text += "\nExample\n"
        text += "  stratovirt -machine microvm -kernel bzImage -m 512M -serial stdio \\\n"
        text += "    -append 'console=\(HostArchitecture.serialConsole) reboot=k panic=1 root=/dev/vda' \\\n"
        text += "    -drive file=rootfs.ext4,id=root,direct=off \\\n"
        text += "    -device virtio-blk-device,drive=root -qmp unix:qmp.sock,server,nowait\n"
        return text
    }

    /// The answer to `-OPTION help` and `-OPTION KIND,help`, nil if the option asks for something else.
    static func answer(to option: ScannedOption) -> String? {
        switch option.definition.value {
        case .properties(_, let leading, let known):
            guard isRequest(PropertyList.split(option.word).first) else { return nil }
            if option.label == "-machine" {
                return "Types:\n" + lines(PropertyTable.machineTypes) + "Properties:\n"
                    + lines(known.filter { $0.name != "type" })
            }
            if case .addressOf = leading {
                return entry(form(of: option.definition), option.definition.help) + "Properties:\n" + lines(known)
            }
            return "Properties:\n" + lines(known)
        case .classes(_, let known):
            let elements = PropertyList.split(option.word)
            guard let first = elements.first else { return nil }
            if isRequest(first) {
                return "Kinds:\n" + known.map { entry("  " + $0.name, $0.help) }.joined()
            }
            guard let kind = known.first(where: { $0.name == first }), elements.dropFirst().contains(where: isRequest) else {
                return nil
            }
            return kind.properties.isEmpty ? "\(kind.name) has no properties\n" : "Properties:\n" + lines(kind.properties)
        case .text where option.label == "-accel" && isRequest(option.word):
            return "Accelerators:\n" + entry("  kvm", "the kernel's virtual machines (/dev/kvm)")
        case .flag, .optional, .text, .words, .ignored:
            return nil
        }
    }

    private static func isRequest(_ word: String?) -> Bool { word == "help" || word == "?" }

    private static func lines(_ properties: [PropertyDefinition]) -> String {
        properties.map { entry("  " + $0.name + ($0.value.isEmpty ? "" : "=" + $0.value), $0.help) }.joined()
    }

    private static func form(of option: OptionDefinition) -> String {
        let names = "  " + option.names.map { "-" + $0 }.joined(separator: ", ")
        switch option.value {
        case .flag, .ignored: return names
        case .optional(let form): return "\(names) [\(form)]"
        case .text(let form), .words(let form), .properties(let form, _, _), .classes(let form, _): return "\(names) \(form)"
        }
    }

    /// A form on the left and its explanation on the right, on a line of its own where the form is too long.
    private static func entry(_ form: String, _ help: String) -> String {
        let words = help.split(separator: " ").map(String.init)
        guard columns(form) < column else {
            return form + "\n" + wrapped(words, indent: column, first: spaces(column))
        }
        return wrapped(words, indent: column, first: form + spaces(column - columns(form)))
    }

    private static func wrapped(_ words: [String], indent: Int, first: String) -> String {
        var text = ""
        var line = first
        var isFresh = true
        for word in words {
            if !isFresh, columns(line) + 1 + columns(word) > width {
                text += line + "\n"
                line = spaces(indent)
                isFresh = true
            }
            line += (isFresh ? "" : " ") + word
            isFresh = false
        }
        return text + line + "\n"
    }

    /// Every character of the tables is one column wide; continuation bytes of UTF-8 are none.
    private static func columns(_ text: String) -> Int {
        text.utf8.reduce(0) { $0 + ($1 & 0xC0 == 0x80 ? 0 : 1) }
    }

    private static func spaces(_ count: Int) -> String { String(repeating: " ", count: count) }
}
