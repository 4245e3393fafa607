/// Groups the words of a command line by option.
///
/// Options take one dash or two, and their first value either as the next word or after `=`. A word belongs to the option
/// before it.
enum ArgumentScanner {
    /// Spellings that end the scan: what else stands on the line does not matter then.
    enum Request { case help, version }

    static func request(in arguments: [String]) -> Request? {
        for argument in arguments where argument.utf8.first == UInt8(ascii: "-") {
            switch argument {
            case "-h", "-help", "--help", "--h": return .help
            case "-V", "-version", "--version", "--V": return .version
            case "--": return nil
            default: continue
            }
        }
        return nil
    }

    static func scan(_ arguments: [String]) throws(CommandLineError) -> [ScannedOption] {
        var options: [ScannedOption] = []
        var isEnded = false
        for argument in arguments {
            guard !isEnded else {
                throw CommandLineError("unexpected word \(Spelling.quoted(argument)) after '--'; nothing may follow it")
            }
            if argument == "--" {
                isEnded = true
            } else if isOption(argument, after: options.last) {
                try checkIsComplete(options.last)
                options.append(try option(argument, after: options))
            } else {
                try append(argument, to: &options)
            }
        }
        try checkIsComplete(options.last)
        return options
    }

    /// A kernel parameter list may begin with a dash (`-- single`); it then has a space, which no option has.
    private static func isOption(_ argument: String, after last: ScannedOption?) -> Bool {
        guard argument.utf8.first == UInt8(ascii: "-") else { return false }
        if case .words = last?.definition.value, argument.utf8.contains(UInt8(ascii: " ")) {
            return false
        }
        return true
    }

    private static func option(_ argument: String, after options: [ScannedOption]) throws(CommandLineError) -> ScannedOption {
        var name = argument.utf8.dropFirst()
        if name.first == UInt8(ascii: "-") { name = name.dropFirst() }
        var attached: String?
        if let equals = name.firstIndex(of: UInt8(ascii: "=")) {
            attached = String(decoding: name[name.index(after: equals)...], as: UTF8.self)
            name = name[..<equals]
        }
        let spelling = String(decoding: name, as: UTF8.self)
        guard let definition = OptionTable.options.first(where: { $0.names.contains(spelling) }) else {
            throw unknown(spelling)
        }
        if !definition.isRepeatable, options.contains(where: { $0.label == definition.label }) {
            throw CommandLineError(definition.label, "is given twice; keep one of the two")
        }
        if case .flag = definition.value, attached != nil {
            throw CommandLineError(definition.label, "takes no value; leave out what follows '='")
        }
        return ScannedOption(definition: definition, words: attached.map { [$0] } ?? [])
    }

    private static func unknown(_ spelling: String) -> CommandLineError {
        let word = Spelling.quoted("-" + spelling)
        if OptionTable.optionsOfLaterVersions.contains(spelling) {
            return CommandLineError("option \(word) is not available in this version; '-help' lists those that are")
        }
        let known = OptionTable.options.flatMap(\.names)
        guard let nearest = Spelling.nearest(to: spelling, from: known) else {
            return CommandLineError("unknown option \(word); '-help' lists those there are")
        }
        return CommandLineError("unknown option \(word); did you mean '-\(nearest)'?")
    }

    private static func append(_ word: String, to options: inout [ScannedOption]) throws(CommandLineError) {
        guard let index = options.indices.last else {
            throw CommandLineError("unexpected word \(Spelling.quoted(word)); an option begins with '-', see '-help'")
        }
        let option = options[index]
        switch option.definition.value {
        case .flag:
            throw CommandLineError(option.label, "takes no value, but \(Spelling.quoted(word)) follows it")
        case .optional, .text, .properties, .classes:
            guard option.words.isEmpty else {
                throw CommandLineError(
                    option.label,
                    "unexpected word \(Spelling.quoted(word)) after its value; put quotes around a value with spaces")
            }
        case .words, .ignored:
            break
        }
        options[index].words.append(word)
    }

    private static func checkIsComplete(_ option: ScannedOption?) throws(CommandLineError) {
        guard let option, option.words.isEmpty else { return }
        switch option.definition.value {
        case .flag, .optional, .ignored:
            return
        case .text(let form), .words(let form), .properties(let form, _, _), .classes(let form, _):
            throw CommandLineError(option.label, "needs a value: \(option.label) \(form)")
        }
    }
}
