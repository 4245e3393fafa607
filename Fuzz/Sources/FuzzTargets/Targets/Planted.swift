internal import Watched

extension FuzzTarget {
    /// Show that bugs are found, one of each kind. Not among `all`.
    static let planted = PlantedParser.Bug.allCases.map { bug in
        FuzzTarget("planted-\(bug.rawValue)", maximumLength: 64, seeds: { [("harmless", Array("some".utf8))] }) { input in
            expect(PlantedParser.parse(input.rest(), bug) == nil, "the planted parser finds nothing")
        }
    }
}
