/// Turns the words of a command line into what they ask for. Pure: nothing on the host is looked at.
enum CommandLineParser {
    /// - Parameter arguments: without the program's name.
    /// - Returns: what is asked for, its configuration not yet checked as a whole.
    /// - Throws: one line that names the first thing that is wrong.
    static func parse(_ arguments: [String]) throws(CommandLineError) -> ParsedCommandLine {
        var result = ParsedCommandLine()
        switch ArgumentScanner.request(in: arguments) {
        case .help:
            result.action = .print(HelpText.all)
            return result
        case .version:
            result.action = .print(HelpText.version)
            return result
        case nil:
            break
        }
        let options = try ArgumentScanner.scan(arguments)
        for option in options {
            if let text = HelpText.answer(to: option) {
                result.action = .print(text)
                return result
            }
        }
        var builder = CommandLineBuilder()
        // The machine decides what the others may be, wherever it stands on the line.
        if let machine = options.first(where: { $0.label == "-machine" }) {
            try machine.definition.handler?(&builder, machine)
        }
        for option in options where option.label != "-machine" {
            try option.definition.handler?(&builder, option)
        }
        return try builder.finish()
    }
}
