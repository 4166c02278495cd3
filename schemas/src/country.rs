//! Countries by their codes.
//!
//! # Source
//! ISO 3166-1, as the Python package `pycountry` 26.2.16 lists it: 249 countries.

/// Bytes from one country to the next: alpha-3, alpha-2, a space.
const STRIDE: usize = 6;

/// Of each country the alpha-3 code and behind it the alpha-2 code, in the order of the former.
const COUNTRIES: &str = "\
    ABWAW AFGAF AGOAO AIAAI ALAAX ALBAL ANDAD AREAE ARGAR ARMAM ASMAS ATAAQ ATFTF ATGAG \
    AUSAU AUTAT AZEAZ BDIBI BELBE BENBJ BESBQ BFABF BGDBD BGRBG BHRBH BHSBS BIHBA BLMBL \
    BLRBY BLZBZ BMUBM BOLBO BRABR BRBBB BRNBN BTNBT BVTBV BWABW CAFCF CANCA CCKCC CHECH \
    CHLCL CHNCN CIVCI CMRCM CODCD COGCG COKCK COLCO COMKM CPVCV CRICR CUBCU CUWCW CXRCX \
    CYMKY CYPCY CZECZ DEUDE DJIDJ DMADM DNKDK DOMDO DZADZ ECUEC EGYEG ERIER ESHEH ESPES \
    ESTEE ETHET FINFI FJIFJ FLKFK FRAFR FROFO FSMFM GABGA GBRGB GEOGE GGYGG GHAGH GIBGI \
    GINGN GLPGP GMBGM GNBGW GNQGQ GRCGR GRDGD GRLGL GTMGT GUFGF GUMGU GUYGY HKGHK HMDHM \
    HNDHN HRVHR HTIHT HUNHU IDNID IMNIM INDIN IOTIO IRLIE IRNIR IRQIQ ISLIS ISRIL ITAIT \
    JAMJM JEYJE JORJO JPNJP KAZKZ KENKE KGZKG KHMKH KIRKI KNAKN KORKR KWTKW LAOLA LBNLB \
    LBRLR LBYLY LCALC LIELI LKALK LSOLS LTULT LUXLU LVALV MACMO MAFMF MARMA MCOMC MDAMD \
    MDGMG MDVMV MEXMX MHLMH MKDMK MLIML MLTMT MMRMM MNEME MNGMN MNPMP MOZMZ MRTMR MSRMS \
    MTQMQ MUSMU MWIMW MYSMY MYTYT NAMNA NCLNC NERNE NFKNF NGANG NICNI NIUNU NLDNL NORNO \
    NPLNP NRUNR NZLNZ OMNOM PAKPK PANPA PCNPN PERPE PHLPH PLWPW PNGPG POLPL PRIPR PRKKP \
    PRTPT PRYPY PSEPS PYFPF QATQA REURE ROURO RUSRU RWARW SAUSA SDNSD SENSN SGPSG SGSGS \
    SHNSH SJMSJ SLBSB SLESL SLVSV SMRSM SOMSO SPMPM SRBRS SSDSS STPST SURSR SVKSK SVNSI \
    SWESE SWZSZ SXMSX SYCSC SYRSY TCATC TCDTD TGOTG THATH TJKTJ TKLTK TKMTM TLSTL TONTO \
    TTOTT TUNTN TURTR TUVTV TWNTW TZATZ UGAUG UKRUA UMIUM URYUY USAUS UZBUZ VATVA VCTVC \
    VENVE VGBVG VIRVI VNMVN VUTVU WLFWF WSMWS YEMYE ZAFZA ZMBZM ZWEZW";

fn countries() -> impl ExactSizeIterator<Item = (&'static str, &'static str)> {
    (0..COUNTRIES.len().div_ceil(STRIDE)).map(at)
}

fn at(index: usize) -> (&'static str, &'static str) {
    let start = index * STRIDE;
    let part = |from, to| COUNTRIES.get(start + from..start + to).unwrap_or_default();
    (part(0, 3), part(3, 5))
}

/// Whether a text is the alpha-3 code of a country.
#[must_use]
pub fn is_country(code: &str) -> bool {
    let (mut low, mut high) = (0, COUNTRIES.len().div_ceil(STRIDE));
    while low < high {
        let middle = usize::midpoint(low, high);
        match at(middle).0.cmp(code) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    false
}

/// The alpha-3 code of a country that is named by either code, in any case of letters.
#[must_use]
pub fn find_country(code: &str) -> Option<&'static str> {
    let is_it = |(three, two): &(&str, &str)| {
        code.eq_ignore_ascii_case(three) || code.eq_ignore_ascii_case(two)
    };
    countries().find(is_it).map(|(three, _)| three)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_is_whole_and_in_order() {
        let three: Vec<_> = countries().map(|(three, _)| three).collect();
        assert!(three.is_sorted(), "{three:?}");
        let two: BTreeSet<_> = countries().map(|(_, two)| two).collect();
        assert_eq!((three.len(), two.len()), (249, 249));
        let is_code = |code: &str, letters| {
            code.len() == letters && code.bytes().all(|byte| byte.is_ascii_uppercase())
        };
        assert!(countries().all(|(three, two)| is_code(three, 3) && is_code(two, 2)));
    }

    #[test]
    fn a_country_is_known_by_its_alpha_3_code_alone_and_found_by_others() {
        assert!(countries().all(|(three, two)| is_country(three) && !is_country(two)));
        for text in ["", "P", "PT", "prt", "PRTPT", "AAA", "ZZZ", "Portugal", "ABWAW"] {
            assert!(!is_country(text), "{text}");
        }
        assert_eq!(find_country("pt"), Some("PRT"));
        assert_eq!(find_country("prt"), Some("PRT"));
        assert_eq!(find_country("CN"), Some("CHN"));
        assert_eq!(find_country("TMP"), None, "East Timor until 2002");
    }
}
